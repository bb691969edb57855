"""Prioritized replay: the trees against plain sums, draws in proportion, weights, and keys that outlive what they name."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.recorded import cut, facts, games_of, record_game, spread

from generals_env import ConfigError, StateError
from generals_env.engine.storage.sum_tree import draw_slots, set_priorities
from generals_env.recorders.buffers.prioritized import PrioritizedReplayBuffer
from generals_env.recorders.buffers.replay_buffer import STORES
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.tensors import Tensors

stores = pytest.mark.parametrize("store", STORES)


def written() -> ExperienceBatch:
    """Return the experiences of several games, 840 of them."""
    return ExperienceBatch.concat(games_of("two players"))


def filled(count: int = 300, capacity: int = 300, **options: Any) -> PrioritizedReplayBuffer:
    """Return a buffer that was written ``count`` experiences; their keys are their places in ``written``."""
    buffer = PrioritizedReplayBuffer(capacity, **{"alpha": 1.0, "epsilon": 0.0, "seed": 1} | options)
    for batch in cut(written().select(np.arange(count)), 50):
        buffer.write(batch)
    return buffer


def priorities(buffer: PrioritizedReplayBuffer) -> np.ndarray:
    """Return the priorities of all that is held, to the power of alpha, the oldest first."""
    store = buffer._store
    assert store is not None
    leaves = buffer._sums[len(buffer._sums) // 2 :]
    return leaves[np.arange(store.first, store.next) % store.capacity]


# --- Trees ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves", [1, 2, 8, 64, 1024])
def test_trees_hold_the_sum_and_the_least_of_what_was_set(leaves: int) -> None:
    rng = np.random.default_rng(leaves)
    sums, least, naive = np.zeros(2 * leaves), np.full(2 * leaves, np.inf), np.zeros(leaves)
    for _ in range(200):
        slots = rng.integers(leaves, size=int(rng.integers(1, 20)))
        # Multiples of a power of two: every order of adding them gives the same sum.
        values = rng.integers(0, 1000, len(slots)) / 64
        values[rng.random(len(slots)) < 0.3] = 0
        set_priorities(sums, least, slots, values)
        for slot, value in zip(slots.tolist(), values.tolist(), strict=True):  # the last one counts
            naive[slot] = value
        assert sums[1] == naive.sum()
        assert least[1] == (naive[naive > 0].min() if naive.any() else np.inf)
        assert np.array_equal(sums[leaves:], naive)
        if not naive.any():
            continue
        points = np.concatenate([rng.random(50), [0.0, np.nextafter(1, 0), 1.0]])
        found = np.empty(len(points), np.int64)
        draw_slots(sums, points, found)
        edges = np.cumsum(naive)
        last = np.flatnonzero(naive)[-1]
        assert np.array_equal(found, np.minimum(np.searchsorted(edges, points * naive.sum(), side="right"), last))
        assert (naive[found] > 0).all()


def test_points_between_priorities_of_all_sizes_lead_to_one_that_is_not_nothing() -> None:
    rng = np.random.default_rng(1)
    for _ in range(100):
        naive = 10.0 ** rng.uniform(-300, 280, 64) * (rng.random(64) < 0.5)
        naive[3] = 1e-310
        sums, least = np.zeros(128), np.full(128, np.inf)
        set_priorities(sums, least, np.arange(64), naive)
        found = np.empty(1000, np.int64)
        draw_slots(sums, np.linspace(0, 1, 1000), found)
        assert (naive[found] > 0).all()


# --- Draws ----------------------------------------------------------------------------------------------------------


@stores
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_draws_are_in_proportion_and_weights_make_up_for_it(store: str, alpha: float) -> None:
    buffer = filled(420, 200, store=store, alpha=alpha, epsilon=0.01)
    rng = np.random.default_rng(2)
    given = rng.random(200) * 10
    assert buffer.update_priorities(np.arange(220, 420), given) == 0
    scaled = (given + 0.01) ** alpha
    share = scaled / scaled.sum()
    counts = np.zeros(200)
    everything = facts(written())
    for number in range(200):
        beta = (0.0, 0.4, 1.0)[number % 3]
        sample = buffer.sample(64, beta=beta)
        places = sample.keys - 220
        np.add.at(counts, places, 1)
        weights = (200 * share[places]) ** -beta
        assert sample.weights == pytest.approx(weights / ((200 * share) ** -beta).max(), rel=1e-5)
        assert sample.weights.dtype == np.float32
        if number % 20 == 0:
            assert facts(sample.batch) == [everything[key] for key in sample.keys.tolist()]
    expected = counts.sum() * share
    statistic = float(((counts - expected) ** 2 / expected).sum())
    # One draw from each of 64 equal parts: more even than chance, never less.
    assert statistic < 199 + 4 * np.sqrt(2 * 199)
    assert statistic > 1


def test_each_part_of_the_sum_is_drawn_from_once() -> None:
    buffer = filled(100, 128)
    buffer.update_priorities(np.arange(100), np.ones(100))
    for _ in range(20):
        assert np.array_equal(np.sort(buffer.sample(100).keys), np.arange(100))


def test_a_seed_draws_the_same_again_and_options_are_those_of_a_plain_buffer() -> None:
    one, other = filled(seed=3), filled(seed=3)
    for options in ({}, {"n_step": 3, "gamma": 0.5}, {"augment": True}):
        first, second = one.sample(20, **options), other.sample(20, **options)
        assert facts(first.batch) == facts(second.batch)
        assert np.array_equal(first.keys, second.keys)
    held = set(facts(one.snapshot().n_step(4, 0.9)))
    assert set(facts(one.sample(50, n_step=4, gamma=0.9).batch)) <= held
    out = one.sample(20).batch
    again = one.sample(20, out)
    assert np.shares_memory(again.batch.rows, out.rows)
    everything = facts(written())
    assert facts(again.batch) == [everything[key] for key in again.keys.tolist()]


# --- Updates --------------------------------------------------------------------------------------------------------


@stores
def test_priorities_are_those_of_a_list_after_any_operations(store: str) -> None:
    rng = np.random.default_rng(4)
    game = written()
    buffer = PrioritizedReplayBuffer(100, store=store, alpha=0.5, epsilon=0.25, seed=1)
    naive: dict[int, float] = {}
    added, largest = 0, 1.0
    for _ in range(150):
        action = rng.random()
        if action < 0.4:
            count = int(rng.choice([1, 3, 30, 150], p=[0.3, 0.3, 0.3, 0.1]))
            buffer.write(game.select(rng.integers(len(game), size=count)))
            naive |= dict.fromkeys(range(added, added + count), largest)
            added += count
            naive = {key: value for key, value in naive.items() if key >= added - 100}
        elif action < 0.45:
            buffer.clear()
            naive = {}
        else:
            keys = rng.integers(max(added - 160, 0), added + 5, size=int(rng.integers(0, 30)))
            given = rng.random(len(keys)) * rng.choice([0.1, 1, 20])
            stale = [key not in naive for key in keys.tolist()]
            assert buffer.update_priorities(keys, given) == sum(stale)
            for key, value in zip(keys.tolist(), ((given + 0.25) ** 0.5).tolist(), strict=True):
                if key in naive:
                    naive[key] = value
                    largest = max(largest, value)
        if naive:
            assert np.array_equal(priorities(buffer), [naive[key] for key in sorted(naive)])
            assert buffer._sums[1] == pytest.approx(sum(naive.values()), rel=1e-12)
            assert buffer._least[1] == min(naive.values())
            assert set(buffer.sample(10).keys.tolist()) <= set(naive)


def test_keys_of_what_was_dropped_touch_nothing() -> None:
    buffer = filled(300, 300)
    old = buffer.sample(50).keys
    buffer.write(written().select(np.arange(300, 600)))
    before = buffer._sums.copy(), buffer._least.copy()
    assert buffer.update_priorities(old, np.full(50, 1000.0)) == 50
    assert np.array_equal(before, (buffer._sums, buffer._least))
    buffer.write(written().select([0]))
    assert priorities(buffer)[-1] == 1.0  # nor is their priority the largest ever given
    buffer.clear()
    assert buffer.update_priorities(old, np.ones(50)) == 50
    buffer.write(written().select(np.arange(10)))
    assert buffer.update_priorities(np.array([*old.tolist(), 601, 610, 611]), np.full(53, 5.0)) == 51
    assert priorities(buffer).tolist() == [5.0] + [1.0] * 8 + [5.0]


def test_of_keys_that_come_twice_the_last_counts_and_new_ones_get_the_largest() -> None:
    buffer = filled(10, 20)
    assert buffer.update_priorities(np.array([3, 3, 4, 3]), np.array([9.0, 2.0, 7.0, 0.5])) == 0
    assert priorities(buffer).tolist() == [1, 1, 1, 0.5, 7, 1, 1, 1, 1, 1]
    buffer.write(written().select([11]))
    assert priorities(buffer)[-1] == 9.0  # it was given
    buffer.update_priorities(np.arange(11), np.full(11, 0.1))
    buffer.write(written().select([12]))
    assert priorities(buffer)[-1] == 9.0


def test_experiences_of_no_priority_are_not_drawn_unless_all_have_none() -> None:
    buffer = filled(100, 64)  # what is held does not begin in slot 0
    given = np.zeros(64)
    given[[5, 60]] = 1, 3
    buffer.update_priorities(np.arange(36, 100), given)
    sample = buffer.sample(400, beta=1)
    assert np.unique(sample.keys).tolist() == [41, 96]
    assert np.unique(sample.weights).tolist() == pytest.approx([1 / 3, 1])
    buffer.update_priorities(np.arange(36, 100), np.zeros(64))
    sample = buffer.sample(4000)
    assert set(sample.keys.tolist()) == set(range(36, 100))
    assert (sample.weights == 1).all()
    held = facts(buffer.snapshot())
    assert facts(sample.batch)[:50] == [held[key - 36] for key in sample.keys[:50].tolist()]


# --- The store below ------------------------------------------------------------------------------------------------


@stores
def test_what_was_dropped_for_its_bytes_is_drawn_no_more(store: str) -> None:
    buffer = PrioritizedReplayBuffer(max_bytes=400_000, store=store, alpha=1, epsilon=0, seed=1)
    game = spread(written())
    for _ in range(20):
        for batch in cut(game, 100):
            buffer.write(batch)
            held, keys = buffer._store, buffer.sample(100).keys
            assert held is not None
            assert held.first <= keys.min()
            assert keys.max() < held.next
            assert buffer._sums[1] == len(buffer)
    if store != "zstd":
        assert len(buffer) < buffer.stats().capacity


@stores
@pytest.mark.parametrize("overflow", ["drop_oldest", "raise"])
def test_priorities_stay_when_boards_grow(store: str, overflow: str) -> None:
    for limits in ({"capacity": 100}, {"max_bytes": 4_000_000}):
        buffer = PrioritizedReplayBuffer(**limits, store=store, overflow=overflow, alpha=1, epsilon=0, seed=1)
        buffer.write(written().select(np.arange(60)))
        buffer.update_priorities(np.arange(60), np.arange(60))
        buffer.write(record_game(1, 10, height=9, width=9))
        assert priorities(buffer).tolist() == [*range(60), *[59] * 20]
        with_more = record_game(2, 100, height=11, width=11)
        if overflow == "raise" and "capacity" in limits:
            with pytest.raises(StateError, match="write: expected room for 200 experiences, got 20 of 100"):
                buffer.write(with_more)
            assert buffer.update_priorities(np.array([70]), np.array([2.0])) == 0
            assert priorities(buffer)[70] == 2
            assert buffer.sample(30).keys.max() < 80


@stores
def test_a_saved_buffer_has_its_priorities_again(store: str, tmp_path: Path) -> None:
    buffer = filled(500, 200, store=store, alpha=0.7)
    buffer.update_priorities(np.arange(300, 500), np.random.default_rng(5).random(200) * 8)
    buffer.save(tmp_path / "saved")
    loaded = PrioritizedReplayBuffer(1000, alpha=0.7, epsilon=0, seed=1, keep_probability=0.2)
    for _ in range(5):
        loaded.write(games_of("two players")[0].select(np.arange(20)))
    older = len(loaded)
    loaded.load(tmp_path / "saved")
    assert priorities(loaded).tolist() == [1.0] * older + priorities(buffer).tolist()
    loaded.write(written().select([i for i in range(840) if written().truncated[i]][:1]))
    assert priorities(loaded)[-1] == buffer._largest == priorities(buffer).max()
    small = PrioritizedReplayBuffer(50, alpha=0.7)
    small.load(tmp_path / "saved")
    assert priorities(small).tolist() == priorities(buffer)[-50:].tolist()
    plain = filled(10, 20)
    plain.clear()
    plain.load(tmp_path / "saved")
    assert priorities(plain).tolist() == priorities(buffer)[-20:].tolist()


def test_a_cleared_buffer_lets_go_of_its_arrays() -> None:
    buffer = filled(300, 1000)
    store = weakref.ref(buffer._store)  # type: ignore[arg-type]  # it is there
    buffer.clear()
    gc.collect()
    assert store() is None
    assert buffer._sums.nbytes + buffer._least.nbytes < 100


# --- Errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "given", "message"),
    [
        ([1, 2], [1.0], r"priorities: expected one for each of \(2,\) integer keys, got \(1,\)"),
        ([[1]], [[1.0]], r"priorities: expected one for each of \(1, 1\) integer keys"),
        ([1.5], [1.0], r"priorities: expected one for each of \(1,\) integer keys"),
        ([1, 2], [1.0, -1e-9], "priorities: expected finite numbers of at least 0, got"),
        ([1, 2], [np.nan, 1.0], "priorities: expected finite numbers of at least 0, got"),
        ([1, 2], [1.0, np.inf], "priorities: expected finite numbers of at least 0, got"),
        ([1, 2], [1.0, 1e299], "priorities: expected at most 1e[+]290 to the power of alpha, got"),
    ],
)
def test_wrong_priorities_change_nothing(keys: Any, given: Any, message: str) -> None:
    buffer = filled(50, 64)
    before = buffer._sums.copy()
    with pytest.raises(ConfigError, match=message):
        buffer.update_priorities(np.array(keys), np.array(given))
    assert np.array_equal(buffer._sums, before)
    assert buffer._largest == 1


WRONG: list[tuple[Callable[[], Any], str]] = [
    (PrioritizedReplayBuffer, "capacity: expected it or max_bytes, got neither"),
    (lambda: PrioritizedReplayBuffer(5, alpha=-0.1), "alpha: expected a number of at least 0, got -0.1"),
    (lambda: PrioritizedReplayBuffer(5, alpha=float("inf")), "alpha: expected a number of at least 0, got inf"),
    (lambda: PrioritizedReplayBuffer(5, epsilon="1"), "epsilon: expected a number of at least 0, got '1'"),  # type: ignore[arg-type]
    (lambda: filled(10).sample(0), "n: expected a positive integer, got 0"),
    (lambda: filled(10).sample(3, beta=1.01), "beta: expected a number from 0 to 1, got 1.01"),
    (lambda: filled(10).sample(3, beta=float("nan")), "beta: expected a number from 0 to 1, got nan"),
    (lambda: filled(10).sample(3, Tensors.empty(3, (9, 6, 7), (6, 7))), "out: expected an ExperienceBatch, got Tensors"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_bad_arguments_are_named_with_what_was_expected_and_what_came(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_an_empty_buffer_says_so() -> None:
    with pytest.raises(StateError, match="sample: expected experiences in the buffer, got none"):
        PrioritizedReplayBuffer(5).sample(1)
