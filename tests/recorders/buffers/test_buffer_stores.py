"""Tests every store of ReplayBuffer against a plain list of experiences, bit for bit and in order."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from support.helpers import PATIENCE
from support.recorded import GAMES, Oracle, board_digests, cut, facts, games_of, interleaved, record_game, renamed

from generals_env.recorders.buffers.replay_buffer import STORES, ReplayBuffer
from generals_env.recorders.experience import ExperienceBatch

stores = pytest.mark.parametrize("store", STORES)
kinds = pytest.mark.parametrize("kind", GAMES)


def check(buffer: ReplayBuffer, oracle: Oracle) -> None:
    """Check all counts, and all experiences one by one."""
    stats, rewards = buffer.stats(), oracle.rewards()
    assert (len(buffer), stats.size, stats.added) == (len(oracle.held), len(oracle.held), oracle.added)
    assert (stats.dropped, stats.removed, stats.skipped) == (oracle.dropped, oracle.removed, 0)
    assert stats.added == stats.size + stats.dropped + stats.removed
    assert stats.capacity == oracle.capacity
    if not oracle.held:
        assert (stats.games, stats.nbytes, stats.mean_reward, stats.min_reward, stats.max_reward) == (0, 0, 0, 0, 0)
        return
    assert stats.nbytes > 0
    assert (stats.min_reward, stats.max_reward) == (rewards.min(), rewards.max())
    with pytest.deprecated_call(match="use (min|max)_reward"):
        assert (stats.least_reward, stats.most_reward) == (rewards.min(), rewards.max())
    assert stats.mean_reward == pytest.approx(rewards.mean(dtype=np.float64), abs=1e-9)
    held = buffer.snapshot()
    assert facts(held) == oracle.facts(held.shape)


def check_draws(buffer: ReplayBuffer, oracle: Oracle, count: int = 30) -> None:
    """Check that drawn experiences are held."""
    drawn = buffer.sample(count)
    known = set(oracle.facts(drawn.shape))
    assert len(drawn) == count
    assert known.issuperset(facts(drawn))
    assert drawn.metadata == {"seed": "several"}


def some_of(rng: np.random.Generator, batch: ExperienceBatch) -> ExperienceBatch:
    """Return a batch of experiences in any order, of a turn's players not all, some twice."""
    chosen = rng.integers(len(batch), size=int(rng.integers(1, 20)))
    way = rng.integers(4)
    if way == 0:
        chosen = np.unique(chosen)
    elif way == 1:
        chosen = chosen[:1]
    elif way == 2:
        return batch.slice(int(chosen.min()), int(chosen.max()) + 1)
    return batch.select(chosen)


@stores
@kinds
def test_buffer_equals_list_after_any_operations(store: str, kind: str) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        games = games_of(kind)
        capacity = int(rng.integers(20, 700))
        buffer, oracle = ReplayBuffer(capacity, store=store, seed=seed), Oracle(capacity)
        coming = interleaved(rng, games)
        for number in range(40):
            action = rng.random()
            if action < 0.6:
                batch = next(coming, None)
            elif action < 0.8:
                batch = some_of(rng, games[int(rng.integers(len(games)))])
            elif action < 0.83:
                batch = None
            else:
                batch = games[0].select(np.zeros(0, np.int64)) if action < 0.85 else games[int(rng.integers(len(games)))]
            if batch is not None:
                buffer.write(batch)
                oracle.write(batch)
            elif oracle.held:
                if action < 0.815:
                    drained = buffer.drain()
                    assert facts(drained) == oracle.facts(drained.shape)
                else:
                    buffer.clear()
                oracle.clear()
            if number % 5 == 0:
                check(buffer, oracle)
            if number % 3 == 0 and oracle.held:
                check_draws(buffer, oracle)
        check(buffer, oracle)


@stores
@kinds
def test_games_written_while_recorded_are_held_whole(store: str, kind: str) -> None:
    games = games_of(kind)
    buffer, oracle = ReplayBuffer(10_000, store=store), Oracle(10_000)
    for batch in interleaved(np.random.default_rng(0), games):
        buffer.write(batch)
        oracle.write(batch)
    check(buffer, oracle)
    check_draws(buffer, oracle, 200)
    assert buffer.stats().games == len(games)


@stores
@pytest.mark.parametrize("over", [0, 1, 2])
def test_oldest_experience_is_evicted_first(store: str, over: int) -> None:
    games = games_of("two players")
    written = ExperienceBatch.concat(games)
    for size in (1, 7, 64):
        capacity = len(written) - over
        buffer = ReplayBuffer(capacity, store=store)
        for batch in cut(written, size):
            buffer.write(batch)
        stats = buffer.stats()
        assert (stats.size, stats.added, stats.dropped, stats.removed) == (capacity, len(written), over, 0)
        assert facts(buffer.snapshot()) == facts(written)[over:]


@stores
@pytest.mark.parametrize("capacity", [1, 2, 3, 5])
def test_buffer_smaller_than_batch_and_turn_keeps_the_last(store: str, capacity: int) -> None:
    game = games_of("eight players")[0]
    buffer = ReplayBuffer(capacity, store=store)
    for batch in (game.select(np.arange(3)), game, game.select(np.arange(8))):
        buffer.write(batch)
        kept = min(capacity, len(batch))
        assert facts(buffer.snapshot())[-kept:] == facts(batch)[-kept:]
        assert len(buffer) == min(capacity, buffer.stats().added)


@stores
def test_buffer_grows_to_larger_boards_and_accepts_smaller_ones(store: str) -> None:
    rng = np.random.default_rng(1)
    sizes = [(5, 8), (6, 5), (4, 4), (9, 9), (7, 9)]
    games = [record_game(seed, 40, height=height, width=width) for seed, (height, width) in enumerate(sizes)]
    for capacity in (90, 1000):
        buffer, oracle = ReplayBuffer(capacity, store=store, seed=1), Oracle(capacity)
        largest = np.zeros(2, np.int64)
        for batch in [part for game in games for part in cut(game, 30)] + list(interleaved(rng, games)):
            buffer.write(batch)
            oracle.write(batch)
            largest = np.maximum(largest, batch.shape)
            assert buffer.sample(2).shape == tuple(largest)
            check(buffer, oracle)
            check_draws(buffer, oracle)


@stores
@pytest.mark.parametrize("probability", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("kind", ["eight players", "two players", "frames"])
@pytest.mark.checklist("P2")
def test_thinned_out_experiences_are_whole_and_keep_every_end(store: str, probability: float, kind: str) -> None:
    games = [
        renamed(game, f"{game.game_ids[0]}-{k}", 10**6 * (k + 1) + 10**4 * n)
        for k in range(4)
        for n, game in enumerate(games_of(kind))
    ]
    buffer = ReplayBuffer(10**5, store=store, keep_probability=probability, seed=1)
    known = {}
    last = free = 0
    for batch in interleaved(np.random.default_rng(0), games):
        known |= dict(zip(batch.sequence.tolist(), facts(batch), strict=True))
        last += int((batch.terminated | batch.truncated).sum())
        free += int((~(batch.terminated | batch.truncated)).sum())
        buffer.write(batch)
    stats, held = buffer.stats(), buffer.snapshot()
    assert (stats.added, stats.skipped, stats.dropped) == (len(held), last + free - len(held), 0)
    assert facts(held) == [known[number] for number in held.sequence.tolist()]
    assert int((held.terminated | held.truncated).sum()) == last > 0
    thinned = len(held) - last
    assert abs(thinned - probability * free) <= 4 * np.sqrt(free * probability * (1 - probability))
    order = list(known)
    places = [order.index(number) for number in held.sequence.tolist()]
    assert places == sorted(places)
    assert set(facts(buffer.sample(100))) <= set(facts(held))
    assert stats.games == len(set(held.game_id.tolist()))


@stores
@pytest.mark.parametrize("kind", ["frames", "frames of one seat", "memory"])
def test_board_recorded_without_previous_board_is_returned_without_one(store: str, kind: str) -> None:
    """A game continued from a restored state has no previous board, even if its board equals the last one."""
    for game in games_of(kind):
        parts = list(cut(game, 24))
        for part in parts[1:]:
            part.boards.entries["previous"][part.state_index[part.turn == part.turn[0]]] = -1
        buffer = ReplayBuffer(1000, store=store)
        for part in parts:
            buffer.write(part)
        assert facts(buffer.snapshot()) == [fact for part in parts for fact in facts(part)]


@stores
def test_whole_batch_is_kept_with_metadata_of_the_first(store: str) -> None:
    game = games_of("two players")[0]
    buffer = ReplayBuffer(100, store=store)
    buffer.write(game)
    assert (buffer.snapshot().metadata, buffer.sample(3).metadata) == ({"seed": "several"}, {"seed": "several"})


def follow(buffer: ReplayBuffer, length: int) -> dict[int, list[int]]:
    """Return the sequences of each experience's course by that of its first."""
    assert buffer._store is not None
    keys = np.arange(buffer._store.first, buffer._store.next)
    sequence = buffer.snapshot().sequence
    courses = buffer._store.follow(keys, length) - buffer._store.first
    there = buffer._store.follow(keys, length) >= 0
    return {int(sequence[i]): sequence[courses[i][there[i]]].tolist() for i in range(len(keys))}


@stores
def test_trajectory_ends_with_its_game(store: str) -> None:
    game = games_of("two players")[0]
    rows = game.rows.copy()
    rows["truncated"][50], rows["terminated"][71] = True, True
    buffer = ReplayBuffer(1000, store=store)
    buffer.write(replace(game, rows=rows))
    first, courses = int(game.sequence[0]), follow(buffer, 3)
    for number in (46, 48, 50, 52, 67, 69, 71, 73):
        last = {46: 50, 48: 50, 50: 50, 67: 71, 69: 71, 71: 71}.get(number, 200)
        expected = [first + turn for turn in range(number, number + 6, 2) if turn <= last]
        assert courses[first + number] == expected


@stores
@kinds
def test_trajectory_of_player_is_followed_as_far_as_held(store: str, kind: str) -> None:
    games: list[Any] = games_of(kind)
    total = sum(map(len, games))
    for capacity in (10 * total, total // 2):
        buffer = ReplayBuffer(capacity, store=store)
        # Chunks follow a trajectory within themselves, and games if the players of a turn are adjacent.
        whole = [ExperienceBatch.concat(games)]
        for batch in whole if store == "zstd" else interleaved(np.random.default_rng(0), games, turns=True):
            buffer.write(batch)
        held = buffer.snapshot()
        boards = held.boards.entries["turn"]
        before, after = (board_digests(held, index) for index in (held.state_index, held.next_state_index))
        places = {
            (held.game_ids[game], player, turn): number
            for number, (game, player, turn) in enumerate(zip(held.game, held.player_id, held.turn, strict=True))
        }
        assert len(places) == len(held)
        expected = {}
        for number in range(len(held)):
            course = [number]
            while len(course) < 4 and not (held.terminated | held.truncated)[course[-1]]:
                turn = boards[held.next_state_index[course[-1]]]
                following = places.get((held.game_ids[held.game[number]], held.player_id[number], turn))
                if following is None or (store == "games" and after[course[-1]] != before[following]):
                    break
                course.append(following)
            expected[int(held.sequence[number])] = held.sequence[course].tolist()
        assert follow(buffer, 4) == expected


@stores
@kinds
def test_ranges_are_read_by_number_and_stay_in_buffer(store: str, kind: str) -> None:
    rng = np.random.default_rng(5)
    buffer, oracle = ReplayBuffer(150, store=store), Oracle(150)
    assert buffer.span == (0, 0)
    assert buffer.read(0, 10) is None
    for batch in islice(interleaved(rng, games_of(kind)), 0, None, 4):
        buffer.write(batch)
        oracle.write(batch)
        first, following = buffer.span
        assert (following - first, following) == (len(oracle.held), oracle.added)
        start, count = int(rng.integers(max(first - 20, 0), following)), int(rng.integers(1, 60))
        read = buffer.read(start, count)
        assert read is not None
        low = max(start, first)
        assert read.sequence.tolist() == list(range(low, min(low + count, following)))
        same_part = buffer.snapshot().select(read.sequence - first)
        assert facts(unnumbered(read)) == facts(unnumbered(same_part))
        assert len(read.boards.tiles) <= 2 * len(read) * buffer.snapshot().recipe.frames
    before = buffer.span[1]
    assert buffer.read(before, 10) is None
    buffer.clear()
    assert buffer.span == (before, before)
    buffer.write(games_of(kind)[0])
    assert buffer.span[1] == before + len(games_of(kind)[0])


def unnumbered(batch: ExperienceBatch) -> ExperienceBatch:
    """Return a batch without sequence numbers."""
    rows = batch.rows.copy()
    rows["sequence"] = 0
    return replace(batch, rows=rows)


def test_reader_waits_for_next_experience() -> None:
    batch = record_game(1, 30)
    buffer = ReplayBuffer(1000)
    buffer.write(batch)
    writer = threading.Timer(0.1, buffer.write, (batch,))
    writer.start()
    read = buffer.read(len(batch), 5, timeout=PATIENCE)
    writer.join()
    assert read is not None
    assert read.sequence.tolist() == list(range(len(batch), len(batch) + 5))
    threading.Timer(0.1, buffer.close).start()
    assert buffer.read(2 * len(batch), 5, timeout=PATIENCE) is None  # no more experiences arrive
