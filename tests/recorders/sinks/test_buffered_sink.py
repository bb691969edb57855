"""Tests ``BufferedSink``: order, policies of a full queue, sampling, refusing and failing sinks, threads and kills."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import PATIENCE, Memory, check_batches, wait_until
from support.paths import TESTS
from support.recorded import cut, games_of

import generals_env
from generals_env import ConfigError, OptionError, StateError, StorageError
from generals_env.recorders import BufferedSink, BufferedSinkStats, ExperienceBatch, ExperienceLog, ExperienceRecorder
from generals_env.recorders.sinks import queue_sink


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    """Experiences of whole games in batches of 60 or fewer."""
    return [part for game in games_of("two players") for part in cut(game, 60)]


class Gate(Memory):
    """A sink whose ``write`` waits until it is opened."""

    def __init__(self) -> None:
        self.begun, self.opened = threading.Event(), threading.Event()

    def write(self, batch: ExperienceBatch) -> None:  # type: ignore[override]
        self.begun.set()
        assert self.opened.wait(PATIENCE)
        self.append(batch)


class Failing(Memory):
    """A sink that raises the errors of a list, one a call, and then takes everything."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def write(self, batch: ExperienceBatch) -> None:  # type: ignore[override]
        if self.errors:
            raise self.errors.pop(0)
        self.append(batch)


def sequences(sink: Iterable[ExperienceBatch]) -> list[int]:
    return [int(number) for batch in sink for number in batch.sequence]


def balance(stats: BufferedSinkStats) -> int:
    """Return ``added`` less all that became of it; 0 if the counts are right."""
    drops = stats.dropped_oldest + stats.dropped_newest + stats.sampled_out + stats.lost
    return stats.added - stats.written - stats.size - drops


def in_thread(function: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def blocked(gate: Gate, sink: BufferedSink, batch: ExperienceBatch) -> int:
    """Write a batch and wait until the gate has it; return its length."""
    sink.write(batch)
    assert gate.begun.wait(PATIENCE)
    return len(batch)


def test_buffered_sink_passes_batches_by_reference_and_in_order(batches: list[ExperienceBatch]) -> None:
    memory = Memory()
    with BufferedSink(memory) as sink:
        for batch in batches:
            sink.write(batch)
        sink.flush()
        assert memory == batches
        assert memory.flushed == 1
        stats = sink.stats()
    total = sum(map(len, batches))
    assert stats == BufferedSinkStats(0, 10_000, 0.0, total, total, 0, 0, 0, 0, 0, None)
    assert memory.closed == 1
    sink.close()
    sink.flush()
    assert (memory.flushed, memory.closed) == (1, 1)
    with pytest.raises(StateError, match="write: expected an open sink"):
        sink.write(batches[0])
    with pytest.raises(FrozenInstanceError):
        stats.size = 1  # type: ignore[misc]


@pytest.mark.checklist("G6")
def test_buffered_sink_blocks_writer_until_there_is_room(batches: list[ExperienceBatch]) -> None:
    gate, several = Gate(), batches[:6]
    sink = BufferedSink(gate, capacity=240)

    def write() -> None:
        for batch in several:
            sink.write(batch)

    writer = in_thread(write)
    wait_until(lambda: sink.stats().waiting_writers)
    stats = sink.stats()
    assert writer.is_alive()
    assert stats.size <= 240
    assert stats.size + max(map(len, several)) > 240
    assert stats.utilization == stats.size / 240
    assert balance(stats) == 0
    gate.opened.set()
    writer.join(PATIENCE)
    sink.close()
    assert sequences(gate) == sequences(several)
    assert sink.stats().waiting_writers == 0


def test_batch_larger_than_buffered_sink_arrives_whole_and_in_order(batches: list[ExperienceBatch]) -> None:
    large = ExperienceBatch.concat(batches[:5])
    memory = Memory()
    with BufferedSink(memory, capacity=50) as sink:
        sink.write(large)
    assert sequences(memory) == large.sequence.tolist()
    assert max(map(len, memory)) <= 50
    assert np.array_equal(memory.column("states"), large.states())
    assert max(len(part.boards.tiles) for part in memory) < len(large.boards.tiles)


@pytest.mark.checklist("G8")
def test_buffered_sink_drops_oldest_experiences_and_counts_them(batches: list[ExperienceBatch]) -> None:
    gate = Gate()
    sink = BufferedSink(gate, capacity=240, overflow="drop_oldest")
    writing = blocked(gate, sink, batches[0])  # the sink has it: it cannot be dropped
    for batch in batches[1:8]:
        sink.write(batch)
    stats = sink.stats()
    total = sum(map(len, batches[:8]))
    assert (stats.size, stats.dropped_oldest, stats.dropped_newest) == (240, total - 240, 0)
    assert balance(stats) == 0
    gate.opened.set()
    sink.close()
    written = sequences(batches[:8])
    assert sequences(gate) == written[:writing] + written[-(240 - writing) :]
    assert np.array_equal(
        np.concatenate([batch.states() for batch in gate[1:]]),
        np.concatenate([batch.states() for batch in batches[:8]])[-(240 - writing) :],
    )


@pytest.mark.checklist("G8")
def test_buffered_sink_drops_newest_experiences_and_counts_them(batches: list[ExperienceBatch]) -> None:
    gate = Gate()
    sink = BufferedSink(gate, capacity=240, overflow="drop_newest")
    blocked(gate, sink, batches[0])
    for batch in batches[1:8]:
        sink.write(batch)
    stats = sink.stats()
    total = sum(map(len, batches[:8]))
    assert (stats.size, stats.dropped_oldest, stats.dropped_newest) == (240, 0, total - 240)
    assert balance(stats) == 0
    gate.opened.set()
    sink.close()
    assert sequences(gate) == sequences(batches[:8])[:240]


def test_waiting_writer_of_buffered_sink_follows_changed_policy(batches: list[ExperienceBatch]) -> None:
    gate = Gate()
    sink = BufferedSink(gate, capacity=120)
    blocked(gate, sink, batches[0])
    sink.write(batches[1])
    writer = in_thread(sink.write, batches[2])
    wait_until(lambda: sink.stats().waiting_writers)
    with pytest.raises(ConfigError, match="keep_probability: expected a number from 0 to 1, got 2"):
        sink.change(overflow="drop_oldest", keep_probability=2)
    assert sink.overflow == "block"
    sink.change(overflow="drop_newest")
    writer.join(PATIENCE)
    assert sink.stats().dropped_newest
    gate.opened.set()
    sink.close()
    assert balance(sink.stats()) == 0


@pytest.mark.checklist("P2")
def test_buffered_sink_samples_under_pressure_but_keeps_ends_of_games(batches: list[ExperienceBatch]) -> None:
    gate = Gate()
    total = sum(map(len, batches))
    sink = BufferedSink(gate, capacity=total, pressure_threshold=0.25, pressure_keep_probability=0.1, seed=1)
    blocked(gate, sink, batches[0])
    before = 0
    for batch in batches[1:]:
        if sink.stats().utilization < 0.25:
            before += len(batch)
            assert sink.stats().sampled_out == 0
        sink.write(batch)
    stats = sink.stats()
    gate.opened.set()
    sink.close()
    pressed = total - before - len(batches[0])
    assert 0.75 * pressed < stats.sampled_out < pressed
    assert balance(stats) == 0
    every = ExperienceBatch.concat(batches)
    ends = every.sequence[every.terminated | every.truncated]
    assert len(ends) == 12
    assert set(ends.tolist()) <= set(sequences(gate))


@pytest.mark.checklist("P2")
def test_buffered_sink_keeps_share_of_experiences_by_seed(batches: list[ExperienceBatch]) -> None:
    kept = []
    for seed in (1, 1, 2):
        memory = Memory()
        with BufferedSink(memory, keep_probability=0.3, seed=seed) as sink:
            for batch in batches:
                sink.write(batch)
        stats = sink.stats()
        assert stats.added == sum(map(len, batches))
        assert 0.6 < stats.sampled_out / stats.added < 0.8
        assert balance(stats) == 0
        kept.append(sequences(memory))
    assert kept[0] == kept[1] != kept[2]
    with BufferedSink(memory := Memory()) as sink:
        sink.change(keep_probability=0.0)
        sink.write(batches[0])
        sink.change(keep_probability=1.0)
        sink.write(batches[1])
    assert memory == [batches[1]]


def test_refused_experiences_stay_in_buffered_sink_and_arrive_later(
    batches: list[ExperienceBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_sink, "FIRST_PAUSE", 0.01)
    failing = Failing(*[StorageError("disk: expected room, got none")] * 5)
    sink = BufferedSink(failing)
    sink.write(batches[0])
    wait_until(lambda: sink.problem or failing)
    wait_until(lambda: failing)  # it is offered again without a call
    for batch in batches[1:3]:
        sink.write(batch)
    sink.flush()
    assert sink.problem is None
    assert sequences(failing) == sequences(batches[:3])
    failing.errors = [StorageError("disk: expected room, got none")] * 10**6
    sink.write(batches[3])
    wait_until(lambda: sink.problem)
    assert sink.stats().problem == "Failing: disk: expected room, got none"
    with pytest.raises(StorageError, match=rf"expected room, got none \({len(batches[3])} experiences wait\)"):
        sink.flush()
    failing.errors.clear()
    sink.flush()
    assert sink.problem is None
    failing.errors = [StorageError("disk: expected room, got none")] * 10**6
    sink.write(batches[4])
    with pytest.raises(StorageError, match="were not taken, and are lost"):
        sink.close()
    assert sink.stats().lost == len(batches[4])
    assert balance(sink.stats()) == 0


def test_buffered_sink_raises_other_errors_at_next_call_and_goes_on(batches: list[ExperienceBatch]) -> None:
    failing = Failing(KeyError("broken"))
    sink = BufferedSink(failing)
    sink.write(batches[0])
    wait_until(lambda: sink.problem)
    with pytest.raises(KeyError, match="broken"):
        sink.write(batches[1])
    sink.write(batches[1])
    sink.flush()
    assert sequences(failing) == sequences(batches[:2])
    failing.errors.append(ConfigError("batch: expected another kind"))
    sink.write(batches[2])
    with pytest.raises(ConfigError, match="another kind"):
        sink.flush()
    sink.write(batches[3])
    sink.flush()
    assert sequences(failing) == sequences([*batches[:2], batches[3]])
    assert sink.stats().lost == len(batches[2])
    failing.errors.append(ConfigError("batch: expected another kind"))
    sink.write(batches[4])
    with pytest.raises(ConfigError, match="another kind"):
        sink.close()
    assert balance(sink.stats()) == 0


def test_flush_of_buffered_sink_ends_while_others_write(batches: list[ExperienceBatch]) -> None:
    over = threading.Event()

    class Behind(Memory):
        """A sink that never empties the queue before the end."""

        def write(self, batch: ExperienceBatch) -> None:  # type: ignore[override]
            wait_until(lambda: over.is_set() or sink.stats().size > len(batch))
            self.append(batch)

    behind = Behind()
    sink = BufferedSink(behind, capacity=240)

    def write() -> None:
        while not over.is_set():
            sink.write(batches[0])

    writers = [in_thread(write) for _ in range(2)]
    wait_until(lambda: len(behind) >= 3)
    flushing, before = in_thread(sink.flush), len(behind)
    wait_until(lambda: behind.flushed or len(behind) > before + 100)
    assert behind.flushed
    over.set()
    for thread in (*writers, flushing):
        thread.join(PATIENCE)
    sink.close()
    assert sink.stats().written == sink.stats().added == sum(map(len, behind))


STEP = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 7)),
    st.tuples(st.just("flush"), st.just(0)),
    st.tuples(st.just("fail"), st.integers(1, 3)),
    st.tuples(st.just("overflow"), st.sampled_from(["drop_oldest", "drop_newest", "block"])),
    st.tuples(st.just("keep"), st.sampled_from([0.0, 0.5, 1.0])),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.lists(STEP, max_size=12), min_size=1, max_size=3), capacity=st.sampled_from([1, 7, 60, 150, 1000]))
def test_counts_of_buffered_sink_balance_for_any_calls(steps: list[list[tuple[str, Any]]], capacity: int) -> None:
    batches = [part for game in games_of("two players") for part in cut(game, 60)]
    failing, over, wrong = Failing(), threading.Event(), []
    sink = BufferedSink(failing, capacity, seed=1)

    def call(own: list[tuple[str, Any]], first: int) -> None:
        for number, (verb, value) in enumerate(own):
            try:
                if verb == "write":
                    sink.write(batches[value])
                elif verb == "flush":
                    before = sink.stats()
                    sink.flush()
                    after = sink.stats()
                    assert after.added - after.size >= before.added  # nothing of before is still in the queue
                elif verb == "fail":
                    kind = (OSError, KeyError, ConfigError)[value - 1]
                    failing.errors.append(kind(f"{first} {number}"))
                else:
                    sink.change(**{"overflow" if verb == "overflow" else "keep_probability": value})
            except (OSError, KeyError, ConfigError):
                pass

    def watch() -> None:
        while not over.is_set():
            stats = sink.stats()
            if balance(stats) or stats.size > capacity:
                wrong.append(stats)
            over.wait(0.001)

    watcher = in_thread(watch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue_sink, "FIRST_PAUSE", 0.002)
        patch.setattr(queue_sink, "MAX_PAUSE", 0.002)
        threads = [in_thread(call, own, number) for number, own in enumerate(steps)]
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
    failing.errors.clear()
    with suppress(KeyError, ConfigError):
        sink.close()
    over.set()
    watcher.join(PATIENCE)
    stats = sink.stats()
    assert not wrong
    assert balance(stats) == stats.size == 0
    assert stats.written == sum(map(len, failing))


def test_sequences_of_one_writer_stay_in_order_for_any_policy(batches: list[ExperienceBatch]) -> None:
    every = ExperienceBatch.concat(batches)
    for capacity in (1, 13, 100):
        for overflow in ("block", "drop_oldest", "drop_newest"):
            memory = Memory()
            with BufferedSink(memory, capacity, overflow) as sink:
                for batch in [every, *batches]:
                    sink.write(batch)
            stats = sink.stats()
            written = np.array(sequences(memory))
            assert len(written) == stats.written
            assert (np.diff(written) <= 0).sum() <= 1  # once: all experiences are written twice
            if overflow == "block":
                assert written.tolist() == every.sequence.tolist() * 2


def test_recorder_reuses_no_recording_that_is_in_buffered_sink() -> None:
    gate = Gate()
    with ExperienceRecorder(generals_env.make_vec(4, height=6, width=6), BufferedSink(gate, 10**6)) as env:
        env.reset(seed=1)
        for _ in range(10):
            env.play(20, ("random", "random"))
        gate.opened.set()
    assert check_batches(gate) == env.experiences > 1000


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill() ends the process there")
def test_interrupted_write_to_buffered_sink_continues_with_same_batch(batches: list[ExperienceBatch]) -> None:
    gate = Gate()
    large = ExperienceBatch.concat(batches[:4])
    sink = BufferedSink(gate, capacity=100)

    def interrupt() -> None:
        wait_until(lambda: sink.stats().waiting_writers and sink.stats().size >= 75)
        signal.raise_signal(signal.SIGINT)

    thread = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        sink.write(large)
    thread.join(PATIENCE)
    assert 0 < sink.stats().size <= 100
    gate.opened.set()
    sink.write(large)
    sink.close()
    assert sequences(gate) == large.sequence.tolist()
    assert balance(sink.stats()) == 0


KILLED = """
import sys, generals_env
from generals_env.recorders import BufferedSink, ExperienceLog, ExperienceRecorder
sink = BufferedSink(ExperienceLog(sys.argv[1]), 500)
env = ExperienceRecorder(generals_env.make_vec(4, height=6, width=6), sink)
env.reset(seed=1)
while True:
    env.play(10, ("random", "random"))
    env.flush()
    print(env.experiences, flush=True)
"""


def test_flushed_experiences_of_buffered_sink_survive_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        confirmed = [int(process.stdout.readline()) for _ in range(20)][-1]
        process.kill()
        confirmed = max([confirmed, *map(int, process.stdout.read().split("\n")[:-1])])
    with ExperienceLog(tmp_path) as log:
        assert check_batches(log.read()) >= confirmed


def test_buffered_sink_names_wrong_arguments() -> None:
    for options, told in (
        ({"capacity": 0}, "capacity: expected an integer from 1"),
        ({"overflow": "raise"}, "overflow: expected one of block, drop_oldest, drop_newest, got 'raise'"),
        ({"keep_probability": float("nan")}, "keep_probability: expected a number from 0 to 1, got nan"),
        ({"pressure_threshold": -1}, "pressure_threshold: expected a number from 0 to 1, got -1"),
        ({"pressure_keep_probability": True}, "pressure_keep_probability: expected a number from 0 to 1, got True"),
        ({"seed": -1}, "seed: expected a non-negative integer"),
    ):
        with pytest.raises(ConfigError, match=told):
            BufferedSink(Memory(), **options)  # type: ignore[arg-type]
    with BufferedSink(Memory()) as sink:
        with pytest.raises(OptionError, match="'capacity'"):
            sink.change(capacity=3)
        with pytest.raises(ConfigError, match="batch: expected an ExperienceBatch, got int"):
            sink.write(3)  # type: ignore[arg-type]
