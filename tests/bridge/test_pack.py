"""Tests archives of agents and their check."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.helpers import PATIENCE
from support.programs import PASS, READING

from generals_env.bridge import pack as packing
from generals_env.bridge import qualify as qualifying
from generals_env.bridge.competition_actions import from_index
from generals_env.bridge.frame_views import frame_mask, frame_observation
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.matches import MatchOptions
from generals_env.bridge.pack import pack_agent
from generals_env.bridge.qualify import Qualification, qualify_archive
from generals_env.bridge.stdio_protocol import encode_reply, read_frame, read_handshake
from generals_env.errors import ConfigError, StorageError

OPTIONS = MatchOptions(2, 4, 2, 8, 8, 400, Limits(first_move=PATIENCE, move=PATIENCE, ending=PATIENCE), both_seats=False)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qualifying, "FIRST_MOVE", PATIENCE)


def checks(outcome: Qualification) -> dict[str, bool]:
    return {check.name: check.passed for check in outcome.checks}


def test_packed_policy_qualifies_with_numpy_alone(tmp_path: Path) -> None:
    names = pack_agent("expander", tmp_path / "agent.zip")
    assert "run.sh" in names
    pack_agent("expander", tmp_path / "again.zip")
    assert (tmp_path / "agent.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    outcome = qualify_archive(tmp_path / "agent.zip", "builtin:random", OPTIONS)
    assert outcome.passed, outcome.checks
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        archive.extractall(tmp_path / "agent")
    # Only this archive and the standard library's folders are searched, and numpy's.
    code = "import sys; sys.meta_path.insert(0, type('No', (), {'find_spec': lambda self, name, *rest: refuse(name)})())\n"
    code += (
        "def refuse(name):\n    if name.partition('.')[0] in ('gymnasium', 'pettingzoo', 'numba', 'typer', 'rich', 'torch'):\n"
    )
    code += "        raise ImportError(name)\n"
    code += "import runpy; sys.argv = ['agent', '--policy', 'expander']\n"
    code += "runpy.run_path('generals_env/bridge/launcher.py', run_name='__main__')"
    frame = "0 4 4\n0 1 1 1 1\n" + "1 1 1 1\n" * 4 + "1 0 0 0\n" + "0 0 0 0\n" * 3 + "5 0 0 0\n" + "0 0 0 0\n" * 3
    reply = subprocess.run(
        [sys.executable, "-I", "-c", code], input=frame, capture_output=True, text=True, check=True, cwd=tmp_path / "agent"
    )
    assert reply.stdout in ("0 0 0 1 0\n", "0 0 0 3 0\n")


def test_packed_checkpoint_plays_as_its_network(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from generals_env.recorders.training.q_network import QNetwork

    network = QNetwork((9, 8, 8), channels=4, blocks=1, builds=True)
    torch.save({"model": network.state_dict(), "step": 3}, tmp_path / "checkpoint.pt")
    assert "weights.npz" in pack_agent(tmp_path / "checkpoint.pt", tmp_path / "agent.zip")
    outcome = qualify_archive(tmp_path / "agent.zip", "builtin:random", OPTIONS)
    assert {name for name, passed in checks(outcome).items() if not passed} <= {"games won"}


#: Runs the launcher of an archive where only numpy and the standard library can be imported.
ALONE = """
import sys, runpy
class Refuse:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("gymnasium", "pettingzoo", "numba", "typer", "rich", "torch", "onnxruntime"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.argv = ["agent", "--policy", "weights.npz", "--seed", "5"]
runpy.run_path("generals_env/bridge/launcher.py", run_name="__main__")
"""


@pytest.mark.parametrize("builds", [False, True])
def test_packed_policy_network_draws_its_moves_with_numpy_alone(builds: bool, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from support.networks import policy_network

    from generals_env.networks.policy_file import save_policy_network
    from generals_env.networks.saved_players import load_player

    save_policy_network(tmp_path / "policy.pt", policy_network(builds))
    names = pack_agent(tmp_path / "policy.pt", tmp_path / "agent.zip")
    assert [name for name in names if not name.startswith("generals_env/")] == ["run.sh", "weights.npz"]
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        archive.extractall(tmp_path / "agent")
    # The general may move, half or not, or build on the tile beside it, which is 3 steps from nothing: 40 units are its price.
    rows = ["4 1 1 1", "1 1 1 1", "1 1 1 1", "1 1 1 1"], ["1 1 0 0", *["0 0 0 0"] * 3], ["5 60 0 0", *["0 0 0 0"] * 3]
    lines = [f"{turn} 2 65 1 1\n" + "".join(f"{row}\n" for grid in rows for row in grid) for turn in range(12)]
    text = "0 4 4\n" + "".join(lines)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE], input=text, capture_output=True, text=True, check=False, cwd=tmp_path / "agent"
    )
    assert done.returncode == 0, done.stderr
    player = load_player(tmp_path / "policy.pt", seed=5)
    expected = []
    stream = io.BytesIO(text.encode())
    read_handshake(stream)
    while (frame := read_frame(stream, 4, 4, 2 + 13 * len(expected))) is not None:
        views = {"observation": frame_observation(frame, 21)[None], "action_mask": frame_mask(frame)[None]}
        expected.append(encode_reply(from_index(int(player(views)[0]), 4, 4)).decode())
    assert done.stdout == "".join(expected)
    assert len(set(expected)) > 2  # drawn
    assert any(reply.startswith("2") for reply in expected) <= builds


def test_agent_of_the_package_is_packed_and_plays_matches(tmp_path: Path) -> None:
    assert "weights.npz" in pack_agent("trained", tmp_path / "agent.zip")
    outcome = qualify_archive(tmp_path / "agent.zip", "builtin:trained", replace(OPTIONS, maps=1, max_turns=20))
    assert {name for name, passed in checks(outcome).items() if not passed} <= {"games won"}


def test_folder_without_replies_is_not_qualified(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"agent: expected a folder with run\.sh"):
        pack_agent(folder, tmp_path / "agent.zip")
    (folder / "run.sh").write_text("echo broken >&2; exit 7\n")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("hidden")
    assert pack_agent(folder, folder / "agent.zip") == ["run.sh"]
    outcome = qualify_archive(folder / "agent.zip", "builtin:random", OPTIONS)
    assert not outcome.passed
    assert not checks(outcome)["no forfeits"]
    assert outcome.results[0].sides[0].errors == "broken"


def test_agent_that_passes_is_not_qualified_and_sees_an_empty_home(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "agent.py").write_text(
        READING + f"assert os.listdir(os.environ['HOME']) == []\nassert 'SECRET' not in os.environ\n"
        f"for _ in frames(): say('{PASS}')\n"
    )
    (folder / "run.sh").write_text("exec python3 -S agent.py\n")
    pack_agent(folder, tmp_path / "agent.zip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET", "x")
        outcome = qualify_archive(tmp_path / "agent.zip", "builtin:random", MatchOptions(1, 4, 1, 5, 5, 5, both_seats=False))
    failed = [name for name, passed in checks(outcome).items() if not passed]
    assert failed == ["games won"], outcome


def test_unsafe_folders_and_archives_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "run.sh").write_text("exit\n")
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(StorageError, match="agent: expected files and folders, got the link"):
        pack_agent(folder, tmp_path / "agent.zip")
    (folder / "link").unlink()
    monkeypatch.setattr(packing, "MAX_ARCHIVE", 10)
    with pytest.raises(StorageError, match="expected an archive of at most 10 bytes"):
        pack_agent(folder, tmp_path / "agent.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]  # no part of an archive stays

    with zipfile.ZipFile(tmp_path / "outside.zip", "w") as archive:
        archive.writestr("../outside.txt", "x")
    with pytest.raises(StorageError, match=r"archive: expected files inside of its folder, got '\.\./outside\.txt'"):
        qualify_archive(tmp_path / "outside.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme", "x")
    assert checks(qualify_archive(tmp_path / "empty.zip")) == {"size": True, "run.sh": False}
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(StorageError, match="archive: expected a zip that can be read"):
        qualify_archive(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "text.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("run.sh", "exit")
    (tmp_path / "text.zip").write_bytes((tmp_path / "text.zip").read_bytes().replace(b"\x05\x00\x5d", b"\x05\x00\xff"))
    with pytest.raises(StorageError, match="archive: expected a zip that can be read"):
        qualify_archive(tmp_path / "text.zip")
    monkeypatch.setattr(qualifying, "MAX_UNPACKED", 0)
    with pytest.raises(StorageError, match="files of 0 bytes in all, got more"):
        qualify_archive(tmp_path / "empty.zip")


def test_unknown_agent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="agent: expected random, expander, trained, a checkpoint or a folder that exists, got 'no such'"
    ):
        pack_agent("no such", tmp_path / "agent.zip")
    with pytest.raises(ConfigError, match=r"out: expected a file that ends in \.zip"):
        pack_agent("expander", tmp_path / "agent.tar")
