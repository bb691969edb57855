"""Tests ExperienceConsumer: every experience once and in order, despite killed servers and clients."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.datasets import key, recorded
from support.helpers import PATIENCE, Memory, wait_until
from support.stream_clients import ClientProcess, read_on
from support.stream_process import ServerProcess

from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import ExperienceBatch, ExperienceLog, ReplayBuffer, Retry
from generals_env.recorders.stream.client.background_reader import BackgroundReader
from generals_env.recorders.stream.client.consumer import ExperienceConsumer
from generals_env.recorders.stream.client.position import Position

SOON = Retry(tries=60, first_wait=0.05, max_wait=0.2)


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded(6)


@pytest.fixture(params=["log", "buffer"])
def server(request: pytest.FixtureRequest, tmp_path: Path, batches: list[ExperienceBatch]) -> Iterator[ServerProcess]:
    """Start a server that has all batches."""
    source = {"log": {"folder": str(tmp_path / "log")}} if request.param == "log" else {"buffer": {"capacity": 10_000}}
    with ServerProcess(**source) as process:  # type: ignore[arg-type]
        for batch in batches:
            process.write(batch)
        yield process


def numbers(parts: Any) -> list[int]:
    return [number for batch in parts for number in batch.sequence.tolist()]


def test_all_experiences_are_received_once_in_order_and_unchanged(
    server: ServerProcess, batches: list[ExperienceBatch]
) -> None:
    whole = ExperienceBatch.concat(batches)
    with ExperienceConsumer(server.address) as consumer:
        for size in (None, 1, 32, 100, 5000):
            found = list(consumer.stream_experiences(batch_size=size, follow=False))
            assert numbers(found) == list(range(len(whole)))
            if size:
                assert [len(batch) for batch in found] == [size] * (len(whole) // size) + [len(whole) % size] * bool(
                    len(whole) % size
                )
            assert key(ExperienceBatch.concat(found)) == key(whole)
        assert consumer.position == Position(consumer.stats().stream_id, len(whole))
        assert consumer.missed == consumer.restarts == consumer.reconnects == 0


def test_stream_starts_at_any_number(server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    total = sum(map(len, batches))
    with ExperienceConsumer(server.address) as consumer:
        for first in (0, 1, np.int64(50), total - 1, total):
            assert numbers(consumer.stream_experiences(start=first, follow=False)) == list(range(first, total))
            assert numbers(consumer.stream_experiences(start=first, follow=False, batch_size=None)) == list(range(first, total))


def test_filters_choose_exactly_and_take_nothing_from_others(server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    game = whole.game_ids[3]
    with ExperienceConsumer(server.address) as consumer:
        for wanted, mine in (
            ({"game_ids": [game]}, whole.game_id == game),
            ({"player_ids": [1]}, whole.player_id == 1),
            ({"min_turn": 30}, whole.turn >= 30),
            (
                {"game_ids": [game], "player_ids": [0], "min_turn": 5},
                (whole.game_id == game) & (whole.player_id == 0) & (whole.turn >= 5),
            ),
        ):
            found = list(consumer.stream_experiences(follow=False, batch_size=16, **wanted))  # type: ignore[arg-type]
            assert numbers(found) == np.flatnonzero(mine).tolist()
        shares = [numbers(consumer.stream_experiences(follow=False, shard=share, shards=3)) for share in range(3)]
        assert sorted(number for share in shares for number in share) == list(range(len(whole)))
        assert sum(bool(share) for share in shares) > 1


def test_follow_mode_receives_games_that_start_later(server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    later = recorded(2, "later")
    found: list[ExperienceBatch] = []
    with ExperienceConsumer(server.address) as consumer, ExperienceConsumer(server.address) as fresh:
        old, new = consumer.stream_experiences(batch_size=None), fresh.stream_experiences(batch_size=None, start="now")
        first = threading.Thread(target=lambda: found.append(next(new)))
        first.start()
        while consumer.position is None or consumer.position.next_sequence < len(whole):
            next(old)
        wait_until(lambda: consumer.stats().consumers >= 2)
        for batch in later:
            server.write(batch)
        got = 0
        while got < sum(map(len, later)):
            got += len(next(old))
        first.join(PATIENCE)
        assert found[0].sequence[0] >= len(whole)
        assert set(found[0].game_ids) <= {name for batch in later for name in batch.game_ids}


def test_position_resumes_from_anywhere(server: ServerProcess, batches: list[ExperienceBatch], tmp_path: Path) -> None:
    total = sum(map(len, batches))
    path = tmp_path / "position.json"
    assert Position.load(path) is None
    seen: list[int] = []
    rng = np.random.default_rng(1)
    while len(seen) < total:
        with ExperienceConsumer(server.address) as consumer:
            for batch in consumer.stream_experiences(
                batch_size=int(rng.integers(1, 40)), follow=False, resume=Position.load(path)
            ):
                seen += batch.sequence.tolist()
                assert consumer.position is not None
                consumer.position.save(path)
                if rng.random() < 0.3:
                    break
    assert seen == list(range(total))
    path.write_text("{}")
    with pytest.raises(StorageError, match="path: expected the position of a consumer"):
        Position.load(path)


def test_too_small_buffer_reports_number_of_lost(batches: list[ExperienceBatch]) -> None:
    total = sum(map(len, batches))
    with ServerProcess(buffer={"capacity": 100}) as server:
        for batch in batches:
            server.write(batch)
        with ExperienceConsumer(server.address) as consumer:
            found = numbers(consumer.stream_experiences(follow=False))
            assert found == list(range(total - 100, total))
            stream = consumer.position
            assert stream is not None
            found = numbers(consumer.stream_experiences(follow=False, resume=Position(stream.stream_id, 10)))
            assert found == list(range(total - 100, total))
            assert consumer.missed == total - 110


def test_server_that_lost_its_memory_is_detected(batches: list[ExperienceBatch]) -> None:
    with ServerProcess(buffer={"capacity": 1000}) as server, ExperienceConsumer(server.address, retry=SOON) as consumer:
        server.write(batches[0])
        stream = consumer.stream_experiences(batch_size=None)
        assert numbers([next(stream)]) == list(range(37))
        server.kill()
        with ServerProcess(buffer={"capacity": 1000}, address=server.address) as again:
            again.write(batches[1])
            assert numbers([next(stream)]) == list(range(37))  # the oldest of the new one
            assert (consumer.restarts, consumer.missed) == (1, 0)
            assert consumer.reconnects >= 1


def test_submitted_experiences_are_streamed(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with ServerProcess(log={"folder": str(tmp_path)}) as server, ExperienceConsumer(server.address) as consumer:
        told = consumer.submit(ExperienceBatch.concat(batches))
        total = sum(map(len, batches))
        assert (told.accepted, told.rejected, told.errors) == (total, 0, ())
        again = consumer.submit(batches[0])
        assert (again.accepted, again.rejected) == (0, 37)
        assert len(again.errors) > 0
        found = ExperienceBatch.concat(list(consumer.stream_experiences(follow=False)))
        assert key(found) == key(ExperienceBatch.concat(batches))
        assert consumer.stats().total_experiences == total


def test_ten_consumers_of_ten_thousand_each_are_served_whole(tmp_path: Path) -> None:
    with ServerProcess(log={"folder": str(tmp_path), "durability": "normal"}) as server:
        server.play(100, num_envs=64, height=6, width=6)
        assert server.span()[1] >= 10_000

        def consume(_: int) -> list[int]:
            found: list[int] = []
            with ExperienceConsumer(server.address) as consumer:
                for batch in consumer.stream_experiences(batch_size=100):
                    found += batch.sequence.tolist()
                    if len(found) >= 10_000:
                        return found
            return found

        with ThreadPoolExecutor(10) as pool:
            assert list(pool.map(consume, range(10))) == [list(range(10_000))] * 10


class Refusing(Memory):
    """A sink that takes two batches and no more."""

    def write(self, batch: ExperienceBatch) -> None:  # type: ignore[override]
        if len(self) == 2:
            raise StorageError("sink: expected room, got none")
        self.append(batch)


def test_background_reader_fills_any_sink_and_its_errors_are_raised(
    server: ServerProcess, batches: list[ExperienceBatch]
) -> None:
    total = sum(map(len, batches))
    memory = Memory()
    with ExperienceConsumer(server.address) as consumer:
        reader = BackgroundReader(consumer.stream_experiences(batch_size=50, follow=False), memory)
        reader.join(PATIENCE)
        assert (reader.experiences, reader.running) == (total, False)
        assert numbers(memory) == list(range(total))
        refused = BackgroundReader(consumer.stream_experiences(batch_size=10), Refusing())
        with pytest.raises(StorageError, match="sink: expected room, got none"):
            refused.join(PATIENCE)
        with pytest.raises(StorageError, match="sink: expected room"):
            refused.check()
        endless = BackgroundReader(consumer.stream_experiences(batch_size=None), ReplayBuffer(1000))
        while endless.experiences < total:
            time.sleep(0.01)
        assert endless.running
    endless.join(PATIENCE)  # closing the consumer ends it
    assert not endless.running


# --- Killed at any moment ---------------------------------------------------------------------------------------------


def test_killed_servers_cause_no_gaps_or_repeats(tmp_path: Path) -> None:
    """25 servers over one log, each killed while it records and serves, one consumer that follows them all."""
    log: dict[str, Any] = {"folder": str(tmp_path), "durability": "normal"}
    server = ServerProcess(log=log)
    found: list[int] = []
    stop = threading.Event()
    consumer = ExperienceConsumer(server.address, retry=Retry(tries=1000, first_wait=0.02, max_wait=0.1))

    def consume() -> None:
        for batch in consumer.stream_experiences(batch_size=50, max_batch_wait_ms=5):
            found.extend(batch.sequence.tolist())
            if stop.is_set():
                return

    thread = threading.Thread(target=consume)
    thread.start()
    for _ in range(25):
        before, had = server.span()[1], len(found)
        server.play(num_envs=4, pause=0.001, height=6, width=6)
        wait_until(lambda had=had: len(found) > had)  # the consumer is connected
        wait_until(lambda server=server, before=before: server.span()[1] >= before + 50)
        time.sleep(random.random() * 0.02)
        server.kill()
        server = ServerProcess(log=log, address=server.address)
    recorded_so_far = server.span()[1]
    server.play(num_envs=4, pause=0.001, height=6, width=6)
    wait_until(lambda: len(found) >= recorded_so_far)
    stop.set()
    thread.join(PATIENCE)
    consumer.close()
    server.kill()
    assert not thread.is_alive()
    assert consumer.reconnects >= 10
    assert (consumer.missed, consumer.restarts) == (0, 0)
    assert len(found) >= recorded_so_far > 25 * 50
    assert found == list(range(len(found)))
    assert sum(map(len, ExperienceLog(tmp_path, mode="r").read())) >= len(found)


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_killed_clients_continue_where_they_were(tmp_path: Path) -> None:
    """25 clients, each killed while it reads. Experiences written before the saved position was updated arrive once more."""
    out, path = tmp_path / "out.txt", tmp_path / "position.json"
    with ServerProcess(log={"folder": str(tmp_path / "log"), "durability": "normal"}) as server:
        server.play(num_envs=2, pause=0.002, height=6, width=6)
        for number in range(25):
            with ClientProcess(read_on, server.address, str(path), str(out)) as client:
                for _ in range(2 + number % 5):
                    client.wait_for_batch()
                time.sleep(random.random() * 0.02)
    lines = out.read_text().split("\n")
    found = [int(line) for line in lines if line.isdigit()]
    assert len(found) > 200
    steps = np.diff(found)
    assert set(range(max(found))) <= set(found) | {max(found)}  # no gap
    back = steps[steps != 1]
    assert len(back) <= 25
    assert ((back <= 0) & (back >= -7)).all()  # at most the unacknowledged batch


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_bad_arguments_are_refused(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with ServerProcess(log={"folder": str(tmp_path)}) as server:
        with ExperienceConsumer(server.address) as consumer:
            for options, text in (
                ({"batch_size": 0}, "batch_size: expected"),
                ({"start": "middle"}, "start: expected one of oldest, now, or a sequence, got 'middle'"),
                ({"start": -1}, "start: expected an integer from 0"),
                ({"start": [1]}, "start: expected an integer from 0"),
                ({"shard": 2, "shards": 2}, "shard: expected"),
                ({"game_ids": "one"}, "game_ids: expected"),
            ):
                with pytest.raises(ConfigError, match=text):
                    consumer.stream_experiences(**options)  # type: ignore[arg-type]
            with pytest.raises(StorageError, match="OUT_OF_RANGE: from_sequence: expected at most 0, got 5"):
                list(consumer.stream_experiences(start=5, follow=False))
            with pytest.raises(StorageError, match="NOT_FOUND: game_ids"):
                list(consumer.stream_experiences(game_ids=["unknown"], follow=False))
        with pytest.raises(StateError, match="expected an open consumer"):
            consumer.stream_experiences()
    for options, text in (
        ({"certificate": "x"}, "certificate, key: expected both or neither"),
        ({"root_certificates": tmp_path / "none.pem"}, "root_certificates: expected a file that can be read"),
        ({"root_certificates": Path(__file__)}, "root_certificates: expected a file in PEM"),
        ({"max_message_bytes": 5}, "max_message_bytes: expected"),
    ):
        with pytest.raises(ConfigError, match=text):
            ExperienceConsumer("127.0.0.1:1", **options)  # type: ignore[arg-type]
    unreachable = ExperienceConsumer("127.0.0.1:1", retry=Retry(tries=3, first_wait=0.01))
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:1: expected a stream of experience, got UNAVAILABLE"):
        list(unreachable.stream_experiences())
    assert unreachable.reconnects == 2
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:1: expected an answer, got UNAVAILABLE"):
        unreachable.stats()
    unreachable.close()
