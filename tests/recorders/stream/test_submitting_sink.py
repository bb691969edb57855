"""Tests ``SubmittingSink`` and ``grpc://`` addresses: every experience reaches the server once, whatever fails in between."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.certificates import Authority
from support.datasets import key, recorded
from support.helpers import PATIENCE, wait_until
from support.recorded import record_game
from support.stream_process import ServerProcess
from support.tcp_proxy import TcpProxy

import generals_env
from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceConsumer,
    ExperienceLog,
    ExperienceRecorder,
    ExperienceServer,
    MultiSink,
    ReplayBuffer,
    Retry,
    SubmittingSink,
    open_dataset,
)
from generals_env.recorders.stream.client.server_address import parse_address
from generals_env.recorders.stream.client.submission import submit_requests
from generals_env.recorders.stream.server.limits import Limits

SMALL = {"height": 6, "width": 7, "max_turns": 40}

ONCE = Retry(tries=1)

PATIENT = Retry(tries=1000, first_wait=0.05, max_wait=0.1)


def held(log: Path) -> ExperienceBatch:
    """Return all experiences of a log."""
    return ExperienceBatch.concat(list(ExperienceLog(log, mode="r").read()))


def ids_of(batch: ExperienceBatch) -> list[tuple[Any, ...]]:
    """Return game, player and turn of each experience."""
    return list(zip(batch.game_id.tolist(), batch.player_id.tolist(), batch.turn.tolist(), strict=True))


@pytest.mark.checklist("A2")
def test_recorder_writes_to_address_what_it_writes_to_folder(tmp_path: Path) -> None:
    with ServerProcess(log={"folder": str(tmp_path / "log")}) as server:
        sinks = [f"grpc://{server.address}", tmp_path / "files"]
        with ExperienceRecorder(generals_env.make_vec(4, **SMALL), sinks) as env:
            env.reset(seed=1)
            env.play(60, ("expander", "random"))
        written = ExperienceBatch.concat(list(open_dataset(tmp_path / "files")))
        assert env.dropped == 0
        assert len(written) == env.experiences > 300
        assert key(held(tmp_path / "log")) == key(written)


def test_written_experiences_survive_a_kill_of_the_server(tmp_path: Path) -> None:
    batches = recorded(3)
    server = ServerProcess(log={"folder": str(tmp_path / "log")})
    with server, SubmittingSink(f"grpc://{server.address}") as sink:
        for batch in batches:
            assert sink.write(batch) == len(batch)
        server.kill()
    assert key(held(tmp_path / "log")) == key(ExperienceBatch.concat(batches))


@pytest.mark.parametrize("restarts", [False, True])
def test_lost_answer_is_asked_again_and_doubles_nothing(restarts: bool, tmp_path: Path) -> None:
    batches, log = recorded(3), tmp_path / "log"
    first, rest = batches[0], ExperienceBatch.concat(batches[1:])
    with ServerProcess(log={"folder": str(log)}) as server, TcpProxy(server.address) as proxy:
        sink = SubmittingSink(proxy.address, retry=PATIENT)
        sink.write(first)
        proxy.silence("server")  # requests still arrive
        writing = threading.Thread(target=sink.write, args=(rest,))
        writing.start()
        wait_until(lambda: server.span()[1] == len(first) + len(rest))  # committed, and not answered
        if restarts:
            server.kill()
            with ServerProcess(log={"folder": str(log)}, address=server.address):
                proxy.drop_connections()
                writing.join()
        else:
            proxy.drop_connections()
            writing.join()
        assert (sink.accepted, sink.repeated) == (len(first) + len(rest), 0)
        sink.close()
    assert key(held(log)) == key(ExperienceBatch.concat(batches))


def test_recorder_keeps_experiences_until_the_server_is_back(tmp_path: Path) -> None:
    log = {"folder": str(tmp_path / "log")}
    server = ServerProcess(log=log)
    with server:
        sink = SubmittingSink(server.address, retry=ONCE)
        env = ExperienceRecorder(generals_env.make_vec(4, **SMALL), sink)
        env.reset(seed=1)
        env.play(30, ("expander", "random"))
        env.flush()
    with pytest.raises(StorageError, match=r"^127\.0\.0\.1:\d+: expected experiences to be accepted, got UNAVAILABLE: "):
        env.play(1, ("expander", "random"))
    assert env.waiting > 0
    with ServerProcess(log=log, address=server.address):
        sink.retry = PATIENT
        env.flush()
        assert env.waiting == 0
        env.close()
    ids = ids_of(held(tmp_path / "log"))
    assert len(ids) == len(set(ids)) == env.experiences
    assert env.dropped == 0


def test_batch_is_offered_again_after_half_of_it_was_written() -> None:
    buffer, batch = ReplayBuffer(10_000), ExperienceBatch.concat(recorded(20))
    assert len(batch) > 1000  # two requests
    with ExperienceServer(buffer, "127.0.0.1:0") as server, SubmittingSink(server.address, retry=ONCE) as sink:
        parts = sink._submit
        calls: list[Any] = []

        def fail_second(request: Any) -> Any:
            calls.append(request)
            if len(calls) == 2:
                raise StorageError("gone")
            return parts(request)

        sink._submit = fail_second  # type: ignore[method-assign]
        with pytest.raises(StorageError, match="gone"):
            sink.write(batch)
        assert len(buffer) == 1000
        assert sink.write(batch) == len(batch) == len(buffer)
        assert (sink.accepted, sink.repeated) == (len(batch), 0)


def test_experiences_of_an_earlier_run_are_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    game = record_game(1)
    with (
        ExperienceServer(ReplayBuffer(1000), "127.0.0.1:0") as server,
        SubmittingSink(server.address) as sink,
        ExperienceConsumer(server.address) as consumer,
    ):
        assert sink.write(game.slice(0, 100)) == 100
        assert sink.write(game) == len(game) - 100 == 80
        assert (sink.accepted, sink.repeated) == (180, 100)
        assert [len(part) for part in consumer.stream_experiences(batch_size=1000, follow=False)] == [180]
    assert "has had 100 of 180 experiences before: use another run_id" in caplog.text


def test_refused_experiences_are_errors_with_the_reason() -> None:
    game, other = record_game(1), record_game(2, height=5, width=5)
    invalid = game.select(np.arange(len(game)))
    invalid.rows["action"][3] = np.flatnonzero(~game.action_masks()[3])[0]
    unreadable = game.select(np.arange(len(game)))
    unreadable.rows["reward"][3] = np.nan
    buffer = ReplayBuffer(1000)
    with ExperienceServer(buffer, "127.0.0.1:0") as server, SubmittingSink(server.address) as sink:
        with pytest.raises(ConfigError, match=r"got packed: expected batches of the codec, got .* finite and positive"):
            sink.write(unreadable)
        assert len(buffer) == 0
        with pytest.raises(ConfigError, match=r"got 1 rejected, the first one game-1-\d-\d+: illegal_action$"):
            sink.write(invalid)
        assert len(buffer) == len(game) - 1
        assert sink.write(game) == len(game) == len(buffer)
        with pytest.raises(ConfigError, match=r"boards of \d+x\d+, as the source or the first batch has, got 5x5"):
            sink.write(other)
        assert len(buffer) == len(game)


def test_batch_is_split_by_message_size() -> None:
    buffer, game = ReplayBuffer(1000), record_game(1, 150, height=20, width=20)
    with ExperienceServer(buffer, "127.0.0.1:0") as server, SubmittingSink(server.address) as sink:
        sink._access = replace(sink._access, max_message_bytes=2048)
        assert len(list(submit_requests(game, 2048))) > 2
        assert sink.write(game) == len(game)
    assert np.array_equal(buffer.snapshot().states(), game.states())


def test_too_many_requests_are_sent_again_later() -> None:
    buffer = ReplayBuffer(10_000)
    with ExperienceServer(buffer, "127.0.0.1:0", limits=Limits(max_requests_per_second=10)) as server:
        with SubmittingSink(server.address, retry=PATIENT) as sink:
            for number in range(30):
                sink.write(record_game(number, 5))
        assert len(buffer) == 300


@pytest.mark.parametrize(
    "address",
    [
        "grpc:/127.0.0.1:50051",
        "grpc:127.0.0.1:50051",
        "grpc://127.0.0.1",
        "grpc://:50051",
        "grpc://127.0.0.1:0",
        "grpc://127.0.0.1:70000",
        "grpc://127.0.0.1:port",
        "grpc://[::1:50051",
        "grpc://127.0.0.1:50051/log",
        "grpcs://127.0.0.1:50051?token=secret",
        "grpc://secret@127.0.0.1:50051",
        "GRPC:",
    ],
)
def test_wrong_address_is_one_error_and_makes_no_folder(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^address: expected grpcs?://") as caught:
        ExperienceRecorder(generals_env.make_vec(2, **SMALL), address)
    assert "secret@" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_address_parts() -> None:
    assert (parse_address("grpc://host:1").target, parse_address("grpc://host:1/").tls) == ("host:1", False)
    assert (parse_address("GRPCS://[::1]:50051").target, parse_address("grpcs://h:1").tls) == ("[::1]:50051", True)
    assert parse_address("unix:/run/server").target == "unix:/run/server"


def test_consumer_accepts_address_with_scheme() -> None:
    buffer, game = ReplayBuffer(1000), record_game(1)
    buffer.write(game)
    with ExperienceServer(buffer, "127.0.0.1:0") as server, ExperienceConsumer(f"grpc://{server.address}") as consumer:
        assert sum(map(len, consumer.stream_experiences(follow=False))) == len(game)


def test_address_without_server_is_found_before_the_first_turn() -> None:
    sink = SubmittingSink("grpc://127.0.0.1:1", retry=ONCE)
    with pytest.raises(StorageError, match=r"check the address and that the server runs$"):
        sink.check()
    sink.close()
    with pytest.raises(StateError, match=r"^write: expected an open sink"):
        sink.write(record_game(1))


def test_token_is_read_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENERALS_ENV_TOKEN", raising=False)
    buffer, game = ReplayBuffer(1000), record_game(1)
    with ExperienceServer(buffer, "127.0.0.1:0", token="secret") as server:
        with pytest.raises(StorageError, match=r"UNAUTHENTICATED: .*set GENERALS_ENV_TOKEN$"):
            ExperienceRecorder(generals_env.make_vec(2, **SMALL), f"grpc://{server.address}")
        with SubmittingSink(server.address, token="secret") as sink:
            sink.check()
        monkeypatch.setenv("GENERALS_ENV_TOKEN", "secret")
        with MultiSink([f"grpc://{server.address}"]) as sinks:
            sinks.write(game)
        assert len(buffer) == len(game)


def test_read_only_server_is_found_before_the_first_turn(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path / "log") as log:
        log.write(record_game(1))
    with (
        ExperienceServer(ExperienceLog(tmp_path / "log", mode="r"), "127.0.0.1:0") as server,
        pytest.raises(StorageError, match="FAILED_PRECONDITION: source: expected one that can be written"),
    ):
        ExperienceRecorder(generals_env.make_vec(2, **SMALL), f"grpc://{server.address}")


@pytest.mark.parametrize("scheme", ["grpcs", "grpc"])
def test_grpcs_needs_a_server_with_tls(scheme: str) -> None:
    with ExperienceServer(ReplayBuffer(1000), "127.0.0.1:0") as server:
        sink = SubmittingSink(f"{scheme}://{server.address}", retry=ONCE)
        if scheme == "grpc":
            sink.check()
        else:
            with pytest.raises(StorageError, match="UNAVAILABLE"):
                sink.check()
        sink.close()


def test_grpcs_trusts_authorities_of_argument_or_environment(tmp_path: Path) -> None:
    ours, game = Authority(tmp_path, "ours"), record_game(1)
    certificate, private = ours.issue("server")
    with DatasetWriter(tmp_path / "set") as writer:
        writer.write(game)
    buffer = ReplayBuffer(1000)
    with ExperienceServer(buffer, "127.0.0.1:0", certificate=certificate, key=private, token="secret") as server:
        address = f"grpcs://{server.address}"
        with SubmittingSink(address, root_certificates=ours.path, token="secret") as sink:
            assert sink.write(game.slice(0, 100)) == 100
        # gRPC reads the variable once in a process.
        done = subprocess.run(
            [sys.executable, "-m", "generals_env.cli", "submit", str(tmp_path / "set"), address],
            env=os.environ | {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(ours.path), "GENERALS_ENV_TOKEN": "secret"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(buffer) == len(game) == 180
