"""What is acknowledged, saved or committed is on disk by then, names of files included: a power cut takes none of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.traced import SAFE, unsafe_when_told

from generals_env.recorders.log.segment_files import connect

BEGIN = f"""
import os, sys
from pathlib import Path
from support.recorded import record_game
folder = Path(sys.argv[1])
batches = [record_game(seed, 30, height=6, width=7) for seed in range(3)]
def safe():
    os.write(1, b"{SAFE}\\n")
"""

SCRIPTS = {
    "log": """
from generals_env.recorders import ExperienceLog
with ExperienceLog(folder, segment_bytes=4000, min_free_bytes=0) as log:
    for batch in batches:
        log.write(batch)
        safe()
    log.commit("somebody", 3)
    safe()
safe()
""",
    "log that is flushed": """
from generals_env.recorders import ExperienceLog
with ExperienceLog(folder, "normal", segment_bytes=4000, min_free_bytes=0) as log:
    for batch in batches:
        log.write(batch)
        log.flush()
        safe()
safe()
""",
    "submissions": """
import grpc
from support.stream_records import records_of
from generals_env.recorders import ExperienceLog, ExperienceServer
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
with ExperienceLog(folder, min_free_bytes=0) as log, ExperienceServer(log, "127.0.0.1:0") as server:
    with grpc.insecure_channel(server.address) as channel:
        for batch in batches:
            request = pb.SubmitExperiencesRequest(experiences=records_of(batch))
            assert ExperienceServiceStub(channel).SubmitExperiences(request).accepted == len(batch)
            safe()
""",
    "position of a consumer": """
from generals_env.recorders.stream.client.position import Position
for number in range(3):
    Position("one", number).save(folder / "position.json")
    safe()
""",
    "saved buffer": """
from generals_env.recorders import ReplayBuffer
buffer = ReplayBuffer(1000)
for batch in batches:
    buffer.write(batch)
buffer.save(folder / "saved")
safe()
""",
    "spill": """
from generals_env.recorders import SpillBuffer
buffer = SpillBuffer(folder)
for batch in batches:
    buffer.write(batch)
    buffer.flush()
    safe()
buffer.close()
""",
    "checkpoint": """
import torch
from generals_env.recorders.training.checkpoints import save_checkpoint
for number in range(3):
    save_checkpoint(folder / "deep" / "trainer.pt", {"weights": torch.ones(1000)})
    safe()
""",
}

FILES = """
from generals_env.recorders import DatasetWriter
from generals_env.recorders.formats import FORMATS
for form in FORMATS:
    with DatasetWriter(folder / form, form, naming=sys.argv[2], max_file_bytes=1, min_free_bytes=0) as writer:
        for batch in batches:
            writer.write(batch)
            writer.flush()
            safe()
    safe()
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_told_to_be_safe_is_on_disk(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "place"
    if name in ("position of a consumer", "saved buffer"):  # these make no folders above their own
        folder.mkdir()
    assert [lost for lost in unsafe_when_told(BEGIN + SCRIPTS[name], folder) if lost] == []


@pytest.mark.parametrize("naming", ["packed", "games"])
def test_files_of_a_dataset_are_on_disk_when_they_are_flushed(naming: str, tmp_path: Path) -> None:
    folder = tmp_path / "place"
    assert [lost for lost in unsafe_when_told(BEGIN + FILES, folder, naming) if lost] == []


def test_a_write_without_a_sync_is_noticed(tmp_path: Path) -> None:
    """The test itself: what only the operating system has in memory is not safe."""
    script = f"""
import os, sys
os.mkdir(sys.argv[1])
with open(sys.argv[1] + "/a", "wb", buffering=0) as file:
    file.write(b"x")
    os.write(1, b"{SAFE}\\n")
    os.fsync(file.fileno())
    os.write(1, b"{SAFE}\\n")
    folder = os.open(sys.argv[1], os.O_RDONLY)
    os.fsync(folder)
    os.fsync(os.open(os.path.dirname(sys.argv[1]), os.O_RDONLY))
    os.write(1, b"{SAFE}\\n")
"""
    folder = tmp_path / "place"
    found = unsafe_when_told(script, folder)
    assert [len(lost) for lost in found] == [2, 2, 0]


@pytest.mark.parametrize(("durability", "level"), [("commit", 2), ("normal", 1)])
def test_sqlite_is_told_how_to_write(durability: str, level: int, tmp_path: Path) -> None:
    """Also where nothing can be traced: FULL syncs every commit, NORMAL leaves that to ``flush``; never OFF."""
    connection = connect(tmp_path / "a.db", durability)
    assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
    connection.close()
