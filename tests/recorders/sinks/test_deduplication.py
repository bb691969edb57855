"""Tests DeduplicatingSink: repeats are dropped, and its memory is bounded and forgets the oldest first."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import PATIENCE, Memory, course_of, same
from support.paths import DATA, TESTS

import generals_env
from generals_env import ConfigError, StateError
from generals_env.engine.storage.hash_set import add_new, empty_hash_set, find, forget_newest, in_order
from generals_env.recorders import ExperienceBatch, ExperienceRecorder, record_replays
from generals_env.recorders.experience.identity import experience_hashes
from generals_env.recorders.sinks.deduplicating import DeduplicatingSink


@pytest.fixture(scope="module")
def batch() -> ExperienceBatch:
    batches = Memory()
    env = ExperienceRecorder(generals_env.parallel_env(height=6, width=6, max_turns=90), batches, run_id="run")
    for seed in range(4):
        course_of(env, seed, turns=90)
    env.close()
    return ExperienceBatch.concat(batches)


def ids(batches: list[ExperienceBatch]) -> list[tuple[str, int, int]]:
    return [
        key for part in batches for key in zip(part.game_id.tolist(), part.player_id.tolist(), part.turn.tolist(), strict=True)
    ]


# --- The set ------------------------------------------------------------------------------------------------------


class Oracle(OrderedDict[int, None]):
    """The reference implementation of the set, slow and obvious."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity

    def add(self, words: list[int]) -> list[bool]:
        new = []
        for word in words:
            new.append(word not in self)
            if new[-1]:
                if len(self) == self.capacity:
                    self.popitem(last=False)
                self[word] = None
        return new


# Few different low bits cause collisions, at the end of the table, too; few different words cause repeats.
WORDS = st.lists(
    st.builds(lambda high, low: (high << 32 | low % 2**32) or 1, st.integers(0, 9), st.sampled_from([0, 1, 2, 3, -1, -2])),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(capacity=st.integers(1, 24), rounds=st.lists(st.tuples(WORDS, st.booleans()), max_size=12))
def test_set_equals_ordered_dict(capacity: int, rounds: list[tuple[list[int], bool]]) -> None:
    members, oracle = empty_hash_set(capacity), Oracle(capacity)
    for words, undone in rounds:
        array = np.array(words, np.uint64)
        new, forgotten = np.empty(len(array), np.bool_), np.empty(len(array), np.uint64)
        before = list(oracle)
        added = add_new(members, array, new, forgotten)
        assert new.tolist() == oracle.add(words)
        assert added == new.sum()
        if undone:
            forget_newest(members, added, forgotten)
            oracle.clear()
            oracle.update(dict.fromkeys(before))
        assert in_order(members).tolist() == list(oracle)
        asked = np.array([*words, *before, 77], np.uint64)
        found = np.empty(len(asked), np.bool_)
        find(members, asked, found)
        assert found.tolist() == [word in oracle for word in asked.tolist()]
        assert sorted(members.table[members.table != 0].tolist()) == sorted(oracle)  # nothing is left behind


@pytest.mark.parametrize("capacity", [1, 2, 3, 1000, 1024, 1025])
def test_hash_table_is_at_most_half_full(capacity: int) -> None:
    size = len(empty_hash_set(capacity).table)
    assert 2 * capacity <= size <= 4 * capacity
    assert size & (size - 1) == 0


def test_long_run_of_random_numbers_keeps_set_correct() -> None:
    rng = np.random.default_rng(0)
    members, oracle = empty_hash_set(500), Oracle(500)
    for _ in range(40):
        words = rng.integers(1, 1500, 400).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        new, forgotten = np.empty(400, np.bool_), np.empty(400, np.uint64)
        add_new(members, words, new, forgotten)
        assert new.tolist() == oracle.add(words.tolist())
    assert 0 < new.sum() < 400
    assert in_order(members).tolist() == list(oracle)


# --- Hashes -------------------------------------------------------------------------------------------------------


def test_hashes_differ_as_ids_do(batch: ExperienceBatch) -> None:
    hashes = experience_hashes(batch)
    assert hashes.dtype == np.uint64
    assert len(set(hashes.tolist())) == len(set(ids([batch]))) == len(batch)
    assert (hashes != 0).all()
    bits = np.unpackbits(hashes.view(np.uint8)).reshape(len(hashes), 64).mean(axis=0)
    assert (np.abs(bits - 0.5) < 5 * 0.5 / np.sqrt(len(hashes))).all()
    again = batch.select(np.arange(len(batch))[::-1])
    assert same(experience_hashes(again)[::-1].copy(), hashes)
    other = ExperienceBatch(tuple(f"{name}x" for name in batch.game_ids), batch.rows, batch.boards, batch.shape)
    assert not np.isin(experience_hashes(other), hashes).any()
    assert len(experience_hashes(batch.slice(0, 0))) == 0


def test_hashes_are_equal_in_every_process(batch: ExperienceBatch) -> None:
    script = """
import generals_env
from generals_env.recorders import ExperienceRecorder, ReplayBuffer
from generals_env.recorders.experience.identity import experience_hashes
from support import helpers
batches = ReplayBuffer(10_000)
env = ExperienceRecorder(generals_env.parallel_env(height=6, width=6, max_turns=90), batches, run_id="run")
for seed in range(4):
    helpers.course_of(env, seed, turns=90)
env.close()
print(*experience_hashes(batches.drain())[:20].tolist())
"""
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=TESTS, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert list(map(int, told.stdout.split())) == experience_hashes(batch)[:20].tolist()


# --- The sink -----------------------------------------------------------------------------------------------------


def test_new_batches_pass_unchanged_and_repeats_are_dropped(batch: ExperienceBatch) -> None:
    out = Memory()
    sink = DeduplicatingSink(out)
    first, second = batch.slice(0, 50), batch.slice(30, 90)
    sink.write(first)
    assert out[0] is first
    sink.write(first)
    assert len(out) == 1
    sink.write(second)
    assert ids(out) == ids([batch.slice(0, 90)])
    assert same(out[1].rows["reward"].copy(), batch.rows["reward"][50:90].copy())
    assert same(out[1].states(), batch.slice(50, 90).states())
    assert (sink.passed, sink.repeats) == (90, 70)
    sink.write(batch.slice(0, 0))
    assert (sink.passed, sink.repeats) == (90, 70)


def test_repeats_within_batch_are_dropped(batch: ExperienceBatch) -> None:
    out = Memory()
    sink = DeduplicatingSink(out)
    sink.write(batch.select([3, 4, 3, 5, 4, 3]))
    assert ids(out) == ids([batch.select([3, 4, 5])])
    assert (sink.passed, sink.repeats) == (3, 3)


def test_memory_is_bounded_and_forgets_oldest_first(batch: ExperienceBatch) -> None:
    out = Memory()
    sink = DeduplicatingSink(out, capacity=40)
    sink.write(batch.slice(0, 50))
    assert sink.remembered.tolist() == experience_hashes(batch)[10:50].tolist()
    sink.write(batch.slice(10, 50))
    assert sink.repeats == 40
    sink.write(batch.slice(0, 10))  # forgotten
    assert (sink.passed, sink.repeats) == (60, 40)


def test_second_deduplicator_continues_from_remembered_ids(batch: ExperienceBatch) -> None:
    sink = DeduplicatingSink(Memory())
    sink.write(batch.slice(0, 50))
    out = Memory()
    following = DeduplicatingSink(out, known=sink.remembered)
    following.write(batch.slice(40, 60))
    assert ids(out) == ids([batch.slice(50, 60)])
    assert (following.passed, following.repeats) == (10, 10)


def test_experiences_refused_by_next_sink_may_be_written_again(batch: ExperienceBatch) -> None:
    class Full(Memory):
        full = True

        def write(self, batch: ExperienceBatch) -> None:
            if self.full:
                raise OSError("full")
            self.append(batch)

    out = Full()
    sink = DeduplicatingSink(out, capacity=30)
    out.full = False
    sink.write(batch.slice(0, 30))
    before = sink.remembered
    out.full = True
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            sink.write(batch.slice(20, 80))
    assert same(sink.remembered, before)
    assert (sink.passed, sink.repeats) == (30, 0)
    out.full = False
    sink.write(batch.slice(20, 80))
    assert ids(out) == ids([batch.slice(0, 80)])


def test_concurrent_writes_pass_each_experience_once(batch: ExperienceBatch) -> None:
    out = Memory()
    sink = DeduplicatingSink(out)
    pieces = [batch.slice(low, low + 17) for low in range(0, len(batch), 17)]

    def write(seed: int) -> None:
        for number in np.random.default_rng(seed).permutation(len(pieces)):
            sink.write(pieces[number])

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(ids(out)) == sorted(ids([batch]))
    assert (sink.passed, sink.repeats) == (len(batch), 7 * len(batch))


def test_human_games_recorded_twice_are_kept_once() -> None:
    paths = [DATA / "B5--zeFUe.json.gz", DATA / "cqivEp6Ad.json.gz"]
    out = Memory()
    sink = DeduplicatingSink(out)
    told = record_replays(paths, sink)
    assert out.closed == 1
    again = DeduplicatingSink(out, known=sink.remembered)
    record_replays(paths, again)
    assert (again.passed, again.repeats) == (0, told.experiences)
    assert len(ids(out)) == len(set(ids(out))) == told.experiences > 4000


def test_flush_and_close_are_passed_on(batch: ExperienceBatch) -> None:
    out = Memory()
    sink = DeduplicatingSink(out)
    sink.flush()
    sink.close()
    assert (out.flushed, out.closed) == (1, 1)
    with pytest.raises(StateError, match="write: expected an open sink, got one that is closed"):
        sink.write(batch)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"sink": 3}, "sink: expected an object with write, flush and close, got 3"),
    *(({"capacity": bad}, f"capacity: expected an integer from 1 to {2**30}, got {bad!r}") for bad in (0, 2**31, 1.5, None)),
    *(({"known": bad}, "known: expected (k,) uint64, got") for bad in ([1], np.zeros(3, np.uint64))),
]


@pytest.mark.parametrize(("options", "text"), BAD, ids=lambda value: str(value)[:30])
def test_bad_arguments_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DeduplicatingSink(**{"sink": Memory(), **options})
    assert str(caught.value).startswith(text)
