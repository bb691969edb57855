"""What a server needs is compiled before it answers, and health does not wait for what a buffer is busy with."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.recorded import record_game

from generals_env.recorders import ExperienceServer, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.stream.server import health, warm_up

#: A process that lists what kernels are compiled for before and after a server was used in all ways, over the source named.
USED = """
import gc, sys
from pathlib import Path
import grpc
from numba.core.dispatcher import Dispatcher
from generals_env.recorders import ExperienceConsumer, ExperienceLog, ExperienceServer, PrioritizedReplayBuffer, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub

kind, folder = sys.argv[1], Path(sys.argv[2])
source = {
    "boards": lambda: ReplayBuffer(200),
    "zstd": lambda: ReplayBuffer(200, store="zstd"),
    "games": lambda: ReplayBuffer(200, store="games"),
    "priorities": lambda: PrioritizedReplayBuffer(200, overflow="block"),
    "log": lambda: ExperienceLog(folder / "log"),
}[kind]()


def compiled():
    found = {}
    for one in gc.get_objects():
        if isinstance(one, Dispatcher) and one.py_func.__module__.startswith("generals_env"):
            found[f"{one.py_func.__module__}.{one.py_func.__name__}"] = len(one.signatures)
    return found


server = ExperienceServer(source, "127.0.0.1:0").start()
before = compiled()
game = decode_batch((folder / "game").read_bytes())
other = decode_batch((folder / "other").read_bytes())
with grpc.insecure_channel(server.address) as channel, ExperienceConsumer(server.address) as consumer:
    stub = ExperienceServiceStub(channel)
    source.write(game)
    records = list(stub.StreamExperiences(pb.StreamExperiencesRequest()))
    for number, record in enumerate(records):
        record.game_id, record.experience_id = "again", ""
    assert stub.SubmitExperiences(pb.SubmitExperiencesRequest(experiences=records)).accepted == len(game)
    assert consumer.submit(other).accepted == len(other)
    for options in ({"batch_size": None}, {"batch_size": 7}, {"player_ids": [0]}, {"min_turn": 3}, {"packed": False}):
        assert sum(map(len, consumer.stream_experiences(follow=False, **options))) > 0
    for fields in ({}, {"full_actions": True}, {"encoding": pb.PACKED, "player_ids": [1]}):
        assert len(list(stub.StreamExperienceBatches(pb.StreamExperiencesRequest(**fields)))) > 0
    assert consumer.stats().total_games > 0
    if kind != "log":
        for _ in range(3):
            source.write(game)
        source.sample(5)
after = compiled()
print(sorted(name for name, count in after.items() if count > before.get(name, 0)))
server.stop(0)
source.close()
"""


@pytest.mark.parametrize("kind", ["boards", "zstd", "games", "priorities", "log"])
def test_kernels_of_a_server_are_compiled_before_it_answers(kind: str, tmp_path: Path) -> None:
    (tmp_path / "game").write_bytes(encode_batch(record_game(3, 20, height=6, width=7)))
    (tmp_path / "other").write_bytes(encode_batch(record_game(4, 20, height=6, width=7)))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USED, kind, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_health_of_a_buffer_that_is_busy_is_serving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    monkeypatch.setattr(health, "INTERVAL", 0.01)
    looks: list[int] = []
    monkeypatch.setattr(health.HealthMonitor, "_check_in_time", counted(health.HealthMonitor._check_in_time, looks))
    buffer = ReplayBuffer(100)
    buffer.write(record_game(3, 20, height=6, width=7))
    with ExperienceServer(buffer, "127.0.0.1:0") as server, grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        with buffer._changed:  # as while a kernel is compiled in ``write``
            known = len(looks)
            deadline = time.monotonic() + 60
            while len(looks) < known + 5:
                assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
                assert time.monotonic() < deadline
        assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def counted(function: Callable[[health.HealthMonitor], None], calls: list[int]) -> Callable[[health.HealthMonitor], None]:
    def call(watch: health.HealthMonitor) -> None:
        function(watch)
        calls.append(1)

    return call


def test_health_of_an_empty_buffer_tells_that_it_is_closed() -> None:
    buffer = ReplayBuffer(100)
    with ExperienceServer(buffer, "127.0.0.1:0") as server, grpc.insecure_channel(server.address) as channel:
        told = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=120)
        assert next(told).status == health_pb2.HealthCheckResponse.SERVING
        buffer.close()
        assert next(told).status == health_pb2.HealthCheckResponse.NOT_SERVING
        told.cancel()


def test_server_that_compiles_for_long_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with warm_up.warn_if_slow():
        pass
    assert not caplog.records
    monkeypatch.setattr(warm_up, "PATIENCE", 0.0)
    said = threading.Event()

    class Noted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "compiling kernels: the server answers afterwards" in record.getMessage():
                said.set()

    handler = Noted()
    warm_up.logger.addHandler(handler)
    try:
        with warm_up.warn_if_slow():
            assert said.wait(60)
    finally:
        warm_up.logger.removeHandler(handler)
