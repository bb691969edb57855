"""Tests full and busy replay buffers: eviction, waiting writers, byte limits and many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import PATIENCE, wait_until
from support.recorded import cut, facts, games_of, interleaved, record_game, spread

from generals_env import ConfigError, StateError
from generals_env.recorders.buffers.prioritized import PrioritizedReplayBuffer
from generals_env.recorders.buffers.replay_buffer import STORES, NoRoomError, ReplayBuffer
from generals_env.recorders.buffers.stores.growable_tables import allocated
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe

stores = pytest.mark.parametrize("store", STORES)


@stores
def test_full_raising_buffer_accepts_nothing_and_reports_its_room(store: str) -> None:
    game = games_of("two players")[0]
    buffer = ReplayBuffer(100, store=store, overflow="raise", keep_probability=0.5, seed=1)
    with pytest.raises(StateError, match=r"write: expected room for \d\d\d experiences, got 100 of 100"):
        ReplayBuffer(100, store=store, overflow="raise").write(game)
    for batch in (game.select(np.arange(100)), game.select(np.arange(70))):
        buffer.write(batch)
    before, held = buffer.stats(), facts(buffer.snapshot())
    larger = record_game(1, 80, height=9, width=9)
    for batch in (game, larger):
        with pytest.raises(StateError, match=rf"write: expected room for \d+ experiences, got {100 - len(held)} of 100"):
            buffer.write(batch)
        assert buffer.stats()._replace(nbytes=0) == before._replace(nbytes=0)  # a chunk may be open
        assert facts(buffer.snapshot()) == held
    full = ReplayBuffer(100, store=store, overflow="raise")
    full.write(game.select(np.arange(60)))
    full.write(game.select(np.arange(40)))
    with pytest.raises(StateError, match="write: expected room for 1 experiences, got 0 of 100"):
        full.write(game.select([3]))


@stores
def test_full_blocking_buffer_holds_writers_until_drained(store: str) -> None:
    batches = [part for game in games_of("teams") for part in cut(game, 64)]
    buffer = ReplayBuffer(50, store=store, overflow="block")
    writer = threading.Thread(target=lambda: [buffer.write(batch) for batch in batches])
    writer.start()
    drained = []
    while writer.is_alive() or len(buffer):
        try:
            drained.append(buffer.drain())
        except StateError:
            writer.join(0.002)
    assert max(map(len, drained)) <= 50
    assert facts(ExperienceBatch.concat(drained)) == facts(ExperienceBatch.concat(batches))
    stats = buffer.stats()
    assert (stats.dropped, stats.removed, stats.added) == (0, sum(map(len, batches)), sum(map(len, batches)))


@stores
@pytest.mark.checklist("G8")
@pytest.mark.parametrize("prioritized", [False, True])
def test_buffer_that_drops_newest_keeps_first_experiences(store: str, prioritized: bool) -> None:
    batches = [part for game in games_of("teams") for part in cut(game, 64)]
    make: Any = PrioritizedReplayBuffer if prioritized else ReplayBuffer
    buffer = make(100, store=store, overflow="drop_newest", seed=1)
    for batch in batches:
        buffer.write(batch)
    every = facts(ExperienceBatch.concat(batches))
    stats = buffer.stats()
    assert (stats.size, stats.added, stats.dropped) == (100, 100, 0)
    assert stats.dropped_newest == len(every) - 100
    assert facts(buffer.drain()) == every[:100]
    buffer.write(batches[1])  # there is room again
    assert facts(buffer.snapshot()) == facts(batches[1])
    assert buffer.stats().dropped_newest == stats.dropped_newest
    with pytest.raises(StateError, match=r"write: expected room for \d+ experiences"):
        buffer.offer(ExperienceBatch.concat(batches), 0.0)  # all or nothing
    assert buffer.stats().dropped_newest == stats.dropped_newest


@stores
@pytest.mark.checklist("G8", "P1")
def test_byte_limit_of_buffer_that_drops_newest_holds(store: str) -> None:
    buffer = ReplayBuffer(max_bytes=60_000, store=store, overflow="drop_newest", keep_probability=0.9, seed=1)
    games = games_of("two players") * (10 if store == "zstd" else 3)
    for game in games:
        buffer.write(game)
        assert buffer.stats().nbytes <= 60_000
    stats = buffer.stats()
    assert stats.dropped == stats.removed == 0
    assert min(stats.size, stats.skipped, stats.dropped_newest) > 0
    assert stats.added + stats.skipped + stats.dropped_newest == sum(map(len, games))


def test_priorities_belong_to_loaded_experiences_where_newest_drop(tmp_path: Path) -> None:
    game = games_of("two players")[0]
    full = PrioritizedReplayBuffer(1000, seed=1)
    for batch in cut(game, 30):
        full.write(batch)
    keys = np.arange(len(game))
    full.update_priorities(keys, keys + 1.0)
    full.save(tmp_path / "saved")
    small = PrioritizedReplayBuffer(50, overflow="drop_newest", seed=1)
    small.load(tmp_path / "saved")
    assert facts(small.snapshot()) == facts(game)[:50]
    assert small.stats().dropped_newest == len(game) - 50
    small.save(tmp_path / "again")
    expected, found = full._saved()["priorities"][:50], small._saved()["priorities"]
    assert np.array_equal(found, expected)


def test_blocked_writer_raises_after_max_wait_and_continues_later() -> None:
    game = games_of("two players")[0]
    buffer = ReplayBuffer(50, overflow="block", max_wait=0.01)
    told = r"within max_wait=0.01 seconds, got 0, and 0 consumers: drain\(\) the buffer, connect a consumer"
    with pytest.raises(NoRoomError, match=told):
        buffer.write(game)
    drained = [buffer.drain()]
    while sum(map(len, drained)) < len(game):
        with suppress(NoRoomError):
            buffer.write(game)  # continues
        drained.append(buffer.drain())
    assert facts(ExperienceBatch.concat(drained)) == facts(game)


@stores
def test_waiting_writer_gets_error_on_close(store: str) -> None:
    game = games_of("two players")[0]
    buffer = ReplayBuffer(20, store=store, overflow="block")
    errors: list[Exception] = []

    def write() -> None:
        try:
            buffer.write(game)
        except StateError as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    while len(buffer) < 20:
        writer.join(0.002)
    buffer.clear()  # another thread makes room, and it fills up again
    while len(buffer) < 20:
        writer.join(0.002)
    assert writer.is_alive()
    buffer.close()
    writer.join(PATIENCE)
    assert not writer.is_alive()
    assert [str(error) for error in errors] == ["write: expected an open buffer, got one that is closed: make another buffer"]
    with pytest.raises(StateError, match="write: expected an open buffer"):
        buffer.write(game)
    assert facts(buffer.snapshot()) == facts(game)[20:40]
    assert len(buffer.sample(3)) == 3


@stores
@pytest.mark.parametrize("overflow", ["drop_oldest", "block"])
@pytest.mark.parametrize("kind", ["two players", "wide armies", "apart", "memory"])
@pytest.mark.parametrize("prioritized", [False, True])
def test_buffer_holds_no_more_than_its_byte_limit(store: str, overflow: str, kind: str, prioritized: bool) -> None:
    most = 400_000
    make: Any = PrioritizedReplayBuffer if prioritized else ReplayBuffer
    buffer = make(max_bytes=most, store=store, overflow=overflow)
    games = games_of("two players" if kind == "apart" else kind)
    if kind == "apart":
        games = [spread(game) for game in games]
    batches = [games[number % len(games)] for number in range(40 if store == "boards" else 80)]

    def check_bytes() -> None:
        with buffer._changed:
            held = buffer._store
            arrays = allocated(getattr(held, "ring", getattr(held, "segments", ())))
            arrays += buffer._sums.nbytes + buffer._least.nbytes if prioritized else 0
            assert buffer.stats().nbytes <= most
        assert arrays <= 1.02 * most + 30_000  # no table has less than 64 rows

    if overflow == "block":
        writer = threading.Thread(target=lambda: [buffer.write(batch) for batch in batches])
        writer.start()
        while writer.is_alive():
            check_bytes()
            buffer.clear()
            writer.join(0.001)
    else:
        for number, batch in enumerate(batches):
            buffer.write(batch)
            if number % 10 == 0:
                buffer.sample(20)
            check_bytes()
    stats = buffer.stats()
    assert stats.added == sum(map(len, batches)) == stats.size + stats.dropped + stats.removed
    if overflow == "block":
        assert stats.dropped == 0
    elif store == "boards":
        assert stats.dropped > 0
        assert stats.nbytes > (0.1 if kind == "wide armies" else 0.3) * most


@stores
@pytest.mark.parametrize("kind", ["wide armies", "frames", "eight players"])
def test_buffer_holds_last_experience_despite_any_byte_limit(store: str, kind: str) -> None:
    game = games_of(kind)[0]
    buffer = ReplayBuffer(max_bytes=600, store=store)
    for batch in (game, spread(game)):
        buffer.write(batch)
        assert 1 <= len(buffer) <= 75
        assert facts(buffer.snapshot()) == facts(game)[-len(buffer) :]


def test_board_with_more_frames_than_room_raises_instead_of_looping() -> None:
    game = record_game(1, 120, height=5, width=5, recipe=Recipe(frames=100))
    for store in ("boards", "games"):
        buffer = ReplayBuffer(max_bytes=600, store=store)
        with pytest.raises(StateError, match="max_bytes: expected room for an experience, got 600 bytes"):
            buffer.write(game.select(np.arange(200, 210)))
        assert (len(buffer), buffer.stats().games) == (0, 0)
        buffer.write(game.select(np.arange(2)))
        assert facts(buffer.snapshot()) == facts(game)[:2]


def test_batch_larger_than_all_tables_is_written_to_its_end() -> None:
    game = record_game(1, 700, height=12, width=12)
    buffer = ReplayBuffer(max_bytes=100_000)
    buffer.write(game)
    assert 40 < len(buffer) < len(game)
    assert facts(buffer.snapshot()) == facts(game.select(np.arange(len(game) - len(buffer), len(game))))


def test_larger_boards_that_do_not_fit_are_refused_or_wait_for_room() -> None:
    small, large = games_of("two players")[0], record_game(1, 20, height=40, width=40)
    for overflow in ("raise", "block"):
        buffer = ReplayBuffer(max_bytes=300_000, overflow=overflow)
        for number in range(9):
            buffer.write(small.select(np.arange(10 * number, 10 * number + 10)))
        buffer.write(spread(small))
        held = facts(buffer.snapshot())
        if overflow == "raise":
            with pytest.raises(StateError, match=r"write: expected room for \d+ experiences at 40x40, got too few max_bytes"):
                buffer.write(large)
            assert facts(buffer.snapshot()) == held
            assert buffer.stats().dropped == 0
        else:
            writer = threading.Thread(target=buffer.write, args=(large,))
            writer.start()
            wait_until(lambda buffer=buffer: buffer._changed._waiters)  # type: ignore[misc]
            assert writer.is_alive()
            assert facts(buffer.drain()) == held
            writer.join(PATIENCE)
            assert facts(buffer.snapshot()) == facts(large)


# --- Many threads ---------------------------------------------------------------------------------------------------


@stores
@pytest.mark.parametrize("prioritized", [False, True])
def test_eight_threads_lose_nothing_and_read_whole_experiences(store: str, prioritized: bool) -> None:
    games = games_of("two players") + games_of("smaller")
    shape = (6, 7)
    known = {fact for game in games for fact in facts(game.padded(*shape))}
    make: Any = PrioritizedReplayBuffer if prioritized else ReplayBuffer
    buffer = make(300, store=store, seed=1)
    buffer.write(games[0])
    errors: list[BaseException] = []
    writing = [2]
    written = [len(games[0]), 0, 0]

    def writer(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(6):
            for batch in interleaved(rng, games, 40):
                buffer.write(batch)
                written[number] += len(batch)
        writing[0] -= 1

    def look(action: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            while writing[0] > 0:
                try:
                    seen = action()
                except StateError as error:
                    assert "got none" in str(error)  # noqa: PT017 - it may be empty just now
                    continue
                batch = getattr(seen, "batch", seen)
                if isinstance(batch, ExperienceBatch):
                    assert set(facts(batch.padded(*shape))) <= known  # a drained buffer begins with any size

        return run

    def stats() -> None:
        told = buffer.stats()
        assert told.added == told.size + told.dropped + told.removed
        assert 0 <= told.size <= 300
        assert 0 <= len(buffer) <= 300

    def update() -> Any:
        seen = buffer.sample(8)
        if prioritized:
            buffer.update_priorities(seen.keys, np.abs(seen.batch.reward) + seen.keys % 7)
        return seen

    def drain() -> Any:
        threading.Event().wait(0.02)
        return buffer.drain()

    jobs = [lambda: writer(1), lambda: writer(2)]
    jobs += [look(action) for action in (update, lambda: buffer.sample(16, n_step=1), drain, buffer.snapshot, stats)]
    jobs.append(look(lambda: buffer.sample_trajectories(2, 3)))

    def guarded(job: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                job()
            except BaseException as error:
                errors.append(error)
                writing[0] = 0

        return run

    threads = [threading.Thread(target=guarded(job)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)
    told = buffer.stats()
    assert told.added == sum(written) == told.size + told.dropped + told.removed


@stores
@pytest.mark.checklist("G8")
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest", "raise"])
def test_writer_that_waits_for_room_follows_a_changed_policy(store: str, overflow: str) -> None:
    game = games_of("two players")[0]
    buffer = ReplayBuffer(50, store=store, overflow="block")
    refused: list[StateError] = []

    def write() -> None:
        try:
            buffer.write(game)
        except StateError as error:
            refused.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    wait_until(lambda: len(buffer) == 50)
    buffer.change(overflow)
    writer.join(PATIENCE)
    assert not writer.is_alive()
    rows = np.arange(len(game) - 50, len(game)) if overflow == "drop_oldest" else np.arange(50)
    assert facts(buffer.snapshot()) == facts(game.select(rows))
    assert len(refused) == (overflow == "raise")
    with pytest.raises(ConfigError, match=r"overflow: expected one of drop_oldest, .*, got 'ring'"):
        buffer.change("ring")
