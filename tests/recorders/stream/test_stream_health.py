"""Tests the health service of the server, and how the server stops."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.helpers import wait_until
from support.stream_calls import GAMES, ask, called, source, status_of, submit
from support.stream_process import ServerProcess
from support.stream_records import records_of

from generals_env.errors import ConfigError, StateError
from generals_env.recorders import ExperienceLog, ReplayBuffer
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.server import health
from generals_env.recorders.stream.server.server import ExperienceServer


def wait_for_health(channel: grpc.Channel, status: int) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    wait_until(lambda: stub.Check(health_pb2.HealthCheckRequest()).status == status)


def test_health_follows_whether_log_can_be_written(tmp_path: Path) -> None:
    log = {"folder": str(tmp_path), "min_free_bytes": 2**60}
    with ServerProcess(log=log) as server, grpc.insecure_channel(server.address) as channel:
        wait_for_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING)
        with pytest.raises(grpc.RpcError) as caught:
            submit(ExperienceServiceStub(channel), experiences=records_of(GAMES[0]))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert caught.value.details().startswith("min_free_bytes: expected ")


@pytest.mark.parametrize("kind", ["buffer", "log"])
def test_health_reports_closed_source(kind: str, tmp_path: Path) -> None:
    with ServerProcess(**source(kind, tmp_path)) as server, grpc.insecure_channel(server.address) as channel:
        server.write(GAMES[0])
        wait_for_health(channel, health_pb2.HealthCheckResponse.SERVING)
        server.tell("close_source")
        wait_for_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert len(list(ExperienceServiceStub(channel).StreamExperiences(ask()))) == 120


def test_health_recovers_when_trouble_is_over(tmp_path: Path) -> None:
    log = ExperienceLog(tmp_path)
    with ExperienceServer(log, "127.0.0.1:0") as server, grpc.insecure_channel(server.address) as channel:
        told = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(told).status == health_pb2.HealthCheckResponse.SERVING
        log.write(GAMES[0])
        current = next(tmp_path.glob("segment_*.db"))
        hidden = current.rename(tmp_path / "hidden")
        assert next(told).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.problem
        hidden.rename(current)
        assert next(told).status == health_pb2.HealthCheckResponse.SERVING
        assert not server.problem
        told.cancel()
    log.close()


def until(told: Iterator[health_pb2.HealthCheckResponse], status: int) -> None:
    """Wait until a server reports this status; on a busy machine a healthy one may seem stuck at times."""
    while next(told).status != status:
        pass


def test_health_reports_stuck_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PATIENCE", 0.2)
    log = ExperienceLog(tmp_path)
    with ExperienceServer(log, "127.0.0.1:0") as server, grpc.insecure_channel(server.address) as channel:
        log.write(GAMES[0])
        told = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        until(told, health_pb2.HealthCheckResponse.SERVING)
        other = sqlite3.connect(next(tmp_path.glob("segment_*.db")), isolation_level=None)
        other.execute("begin immediate")  # other writers wait for this to end
        until(told, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert len(list(ExperienceServiceStub(channel).StreamExperiences(ask()))) == 120
        other.execute("rollback")
        other.close()
        until(told, health_pb2.HealthCheckResponse.SERVING)
        told.cancel()
    log.close()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_terminated_server_flushes_and_informs_all_consumers(tmp_path: Path) -> None:
    with ServerProcess(log={"folder": str(tmp_path), "durability": "normal"}) as server, called(server) as stub:
        stream = stub.StreamExperiences(ask(follow=True))
        server.write(GAMES[0])
        assert next(stream).sequence == 0
        assert server.terminate() == 0
        code, _ = status_of(stream)
        assert code == grpc.StatusCode.UNAVAILABLE
    with ExperienceLog(tmp_path, mode="r") as log:
        assert log.last == 119


def test_log_written_by_another_process_is_served_read_only(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path) as log:
        log.write(GAMES[0])
        with ServerProcess(log={"folder": str(tmp_path), "mode": "r"}) as server, called(server) as stub:
            stream = stub.StreamExperiences(ask(follow=True))
            assert next(stream).sequence == 0
            log.write(GAMES[1])
            assert [next(stream).sequence for _ in range(239)] == list(range(1, 240))
            stream.cancel()
            with pytest.raises(grpc.RpcError) as caught:
                submit(stub, experiences=records_of(GAMES[2]))
            assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_server_in_playing_process_starts_and_stops_once_without_threads() -> None:
    before = threading.active_count()
    buffer = ReplayBuffer(1000)
    with ExperienceServer(buffer, "localhost:0") as server:
        assert server.address == f"localhost:{server.port}"
        assert not server.wait(0)
        with pytest.raises(StateError, match="start: expected a new server, got one that is started"):
            server.start()
        with pytest.raises(ConfigError, match="address: expected one that is free, got"):
            ExperienceServer(buffer, server.address)
        with called(server) as stub:
            stream = stub.StreamExperienceBatches(ask(follow=True, encoding=pb.PACKED, max_batch_wait_ms=1))
            buffer.write(GAMES[0])
            assert next(stream).next_sequence == 120
            server.stop()
            assert status_of(stream)[0] == grpc.StatusCode.UNAVAILABLE
    assert server.wait(0)
    wait_until(lambda: threading.active_count() <= before)
    assert threading.active_count() <= before
    with pytest.raises(StateError, match="start: expected a new server, got one that is stopped"):
        server.start()
