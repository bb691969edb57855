"""Tests MultiSink: one result per sink, and slow or failing sinks do not block others."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from support.datasets import everything, key, recorded
from support.helpers import PATIENCE, Memory, idle
from support.paths import TESTS

import generals_env
from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceLog,
    ExperienceRecorder,
    MultiSink,
    ReplayBuffer,
    Retry,
    RetryingSink,
    ValidatingSink,
)


class Sick(Memory):
    """A sink that refuses batches as long as it is not well, and then everything else, too."""

    def __init__(self, refusals: float = float("inf")) -> None:
        self.refusals = refusals
        self.tries = 0

    def write(self, batch: ExperienceBatch) -> None:  # type: ignore[override]
        self.tries += 1
        self.fail()
        self.append(batch)

    def fail(self) -> None:
        if self.refusals > 0:
            self.refusals -= 1
            raise StorageError("sink: expected to be well, got sick")

    def flush(self) -> None:
        super().flush()
        self.fail()

    def close(self) -> None:
        super().close()
        self.fail()


class Slow(Memory):
    """A sink that waits for permission."""

    def __init__(self) -> None:
        self.begun, self.may_go = threading.Event(), threading.Event()

    def write(self, batch: ExperienceBatch) -> str:  # type: ignore[override]
        self.begun.set()
        assert self.may_go.wait(PATIENCE)
        self.append(batch)
        return "slow"


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded(3)


@pytest.mark.checklist("N7")
def test_all_sinks_get_all_batches_and_report_results(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    log, buffer = ExperienceLog(tmp_path / "log"), ReplayBuffer(1000)
    with DatasetWriter(tmp_path / "files", "games") as writer:
        sink = MultiSink([tmp_path / "npz", log, buffer, writer])
        results = [sink.write(batch) for batch in batches]
        assert [result[1] for result in results] == [int(batch.sequence[-1]) for batch in batches]
        assert all(result[0] is None for result in results)
        sink.close()
        sink.close()
    with pytest.raises(StateError, match="write: expected an open sink"):
        sink.write(batches[0])
    whole = key(ExperienceBatch.concat(batches))
    for place in ("npz", "files", "log"):
        assert key(everything(tmp_path / place)) == whole
    assert len(buffer) == len(whole)
    assert sink.lost == [0, 0, 0, 0]
    assert sink.errors == [None] * 4


def test_recorders_accept_several_places(tmp_path: Path) -> None:
    memory = Memory()
    with ExperienceRecorder(generals_env.parallel_env(height=6, width=6), [tmp_path / "a", str(tmp_path / "b"), memory]) as env:
        env.reset(seed=1)
        idle(env, 5)
    assert len(everything(tmp_path / "a")) == len(everything(tmp_path / "b")) == sum(map(len, memory)) == 10
    assert memory.closed == 1


INTERRUPTED = """
import os, signal, sys, time, generals_env
from support import helpers
from generals_env.recorders import DatasetWriter, ExperienceRecorder
class Interrupting(DatasetWriter):
    def close(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)  # the program ends meanwhile
        super().close()
env = ExperienceRecorder(generals_env.parallel_env(height=6, width=6), [Interrupting(sys.argv[1])])
env.reset(seed=1)
helpers.idle(env, 5)
try:
    env.close()
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill() ends the process there")
def test_program_end_in_interrupted_close_waits_for_sinks(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
    assert len(everything(tmp_path)) == 10


def numbers(sink: Memory) -> list[int]:
    return [int(number) for batch in sink for number in batch.sequence]


def test_batch_refused_by_one_sink_is_given_to_it_alone_and_in_order(batches: list[ExperienceBatch]) -> None:
    sick, well = Sick(2), Memory()
    sink = MultiSink([sick, well])
    results = [sink.write(batch) for batch in batches[:2]]
    assert all(isinstance(sick_told, StorageError) and well_told is None for sick_told, well_told in results)
    assert sink.waiting == [sum(map(len, batches[:2])), 0]
    assert "expected to be well" in str(sink.errors[0])
    assert (len(sick), len(well)) == (0, 2)
    assert sink.write(batches[2]) == [None, None]  # queued batches first
    assert sink.waiting == sink.lost == [0, 0]
    sink.close()
    assert numbers(sick) == numbers(well) == [int(number) for batch in batches[:3] for number in batch.sequence]


@pytest.mark.parametrize("policy", ["all", "any"])
@pytest.mark.checklist("N7")
def test_recorder_gives_each_place_each_experience_once_through_outage(policy: str, tmp_path: Path) -> None:
    sick = Sick(9)
    places = [MultiSink([Sick(3), sick], policy), ExperienceLog(tmp_path / "log", min_free_bytes=0), tmp_path / "files"]
    sink = MultiSink(places, policy, overflow="block")  # a disk may be slower than games
    env = ExperienceRecorder(generals_env.make_vec(4, height=6, width=6), ValidatingSink(sink))
    env.reset(seed=1)
    for _ in range(30):
        env.play(4, ("random", "random"))
        env.step(env.act(("random", "random")))
    total = env.experiences
    env.close()
    assert sink.lost == [0, 0, 0]
    assert total == 8 * 30 * 5
    assert numbers(sick) == list(range(total))
    for place in ("log", "files"):
        found = everything(tmp_path / place)
        assert sorted(zip(found.game.tolist(), found.player_id.tolist(), found.turn.tolist(), strict=True)) == sorted(
            {(int(g), int(p), int(t)) for g, p, t in zip(found.game, found.player_id, found.turn, strict=True)}
        )
        assert len(found) == total


def test_all_policy_flush_and_close_report_untaken_batches(batches: list[ExperienceBatch]) -> None:
    sick, well = Sick(), Memory()
    sink = MultiSink([sick, well])
    sink.write(batches[0])
    with pytest.raises(StorageError, match=r"flush: expected all of 2 sinks to succeed, got Sick: sink: expected to be well"):
        sink.flush()
    assert (well.flushed, sick.flushed) == (1, 1)
    sink.write(batches[1])
    for _ in range(2):  # also when it is closed again, by a sink that tries again
        with pytest.raises(StorageError, match=r"close: expected all .* got Sick: .* \(74 experiences were not taken"):
            sink.close()
    assert (well.closed, sick.closed) == (1, 1)
    assert (sink.lost, sink.waiting) == ([74, 0], [0, 0])
    assert len(well) == 2


def test_close_gives_sink_some_chances(batches: list[ExperienceBatch]) -> None:
    sick = Sick(4)
    sink = MultiSink([sick, Memory()])
    sink.write(batches[0])
    sink.close()
    assert numbers(sick) == batches[0].sequence.tolist()
    assert sink.lost == [0, 0]


def test_refusing_sink_is_retried_without_new_writes(batches: list[ExperienceBatch]) -> None:
    sick = Sick(1)
    taken = threading.Event()
    sick.append = lambda batch: (Memory.append(sick, batch), taken.set())  # type: ignore[assignment, method-assign]
    sink = MultiSink([sick])
    sink.write(batches[0])
    assert taken.wait(60)
    sink.close()


def test_any_policy_needs_one_successful_sink(batches: list[ExperienceBatch]) -> None:
    sick, well = Sick(), Memory()
    sink = MultiSink([sick, well], policy="any")
    for batch in batches[:4]:
        sink.write(batch)
    sink.flush()
    assert (len(well), well.flushed) == (4, 1)
    sink.close()
    assert sink.lost == [148, 0]
    both = MultiSink([Sick(), Sick()], policy="any")
    assert all(isinstance(result, StorageError) for result in both.write(batches[0]))
    with pytest.raises(StorageError, match=r"flush: expected any of 2 sinks to succeed, got Sick: .*; Sick: "):
        both.flush()


def test_any_policy_slow_sink_blocks_no_other_and_misses_oldest(batches: list[ExperienceBatch]) -> None:
    slow, fast = Slow(), Memory()
    sink = MultiSink([slow, fast], policy="any", max_waiting=3)
    results = [sink.write(batches[0])]
    assert slow.begun.wait(PATIENCE)
    results += [sink.write(batch) for batch in 6 * batches[:1]]
    assert len(fast) == 7
    assert sink.lost == [37 * 4, 0]
    assert sink.waiting == [37 * 3, 0]
    slow.may_go.set()
    sink.close()
    given_up = [result[0] for result in results if isinstance(result[0], Future) and result[0].exception(60) is not None]
    assert len(given_up) == 4
    assert "expected Slow to keep up, got 3 batches waiting" in str(given_up[0].exception())
    assert len(slow) == 3


@pytest.mark.parametrize("limit", [{"max_waiting": 2}, {"max_waiting_bytes": 1}])
def test_full_queue_raises_and_no_sink_gets_the_batch(batches: list[ExperienceBatch], limit: dict[str, Any]) -> None:
    sick, well = Sick(), Memory()
    sink = MultiSink([sick, well], **limit)
    room = limit.get("max_waiting", 1)
    for batch in batches[:room]:
        sink.write(batch)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"write: expected room for 37 experiences, got Sick with \d+ waiting: sink"):
            sink.write(batches[room])
    assert len(well) == room
    sick.refusals = 0
    sink.write(batches[room])
    sink.close()
    assert numbers(sick) == numbers(well)
    assert len(well) == room + 1


def test_full_queue_waits_or_drops_the_oldest(batches: list[ExperienceBatch]) -> None:
    sick = Sick()
    sink = MultiSink([sick, Memory()], max_waiting=1, overflow="drop_oldest")
    for batch in batches[:3]:
        sink.write(batch)
    assert (sink.lost, sink.waiting) == ([74, 0], [37, 0])
    sick.refusals = 0
    sink.close()
    assert numbers(sick) == batches[2].sequence.tolist()

    slow = Slow()
    sink = MultiSink([slow, Memory()], "any", max_waiting=1, overflow="block")
    sink.write(batches[0])
    writing = threading.Thread(target=sink.write, args=(batches[1],))
    writing.start()
    slow.may_go.set()
    writing.join(60)
    assert not writing.is_alive()
    sink.close()
    assert numbers(slow) == [int(number) for batch in batches[:2] for number in batch.sequence]
    assert sink.lost == [0, 0]


def test_batch_that_sink_can_never_accept_does_not_block_others(batches: list[ExperienceBatch]) -> None:
    buffer, well = ReplayBuffer(1000), Memory()
    sink = MultiSink([buffer, well])
    sink.write(batches[0])
    four = recorded(1, players=4)
    assert isinstance(sink.write(four[0])[0], ConfigError)
    sink.write(batches[1])
    assert (len(buffer), sink.lost, sink.waiting) == (74, [len(four[0]), 0], [0, 0])
    with pytest.raises(StorageError, match=r"flush: .* got ReplayBuffer: batch: .* \(37 experiences can never be taken\)"):
        sink.flush()
    sink.flush()  # it got the report
    sink.close()
    assert len(well) == 3


def test_retrying_sink_around_several_gives_nothing_twice(batches: list[ExperienceBatch]) -> None:
    sick, well = Sick(3), Memory()
    sink = RetryingSink(MultiSink([sick, RetryingSink(well), well]), Retry(first_wait=0))
    for batch in batches[:4]:
        sink.write(batch)
    sink.close()
    assert numbers(sick) == [int(number) for batch in batches[:4] for number in batch.sequence]
    assert len(well) == 8


def test_concurrent_writers_give_all_sinks_one_order(batches: list[ExperienceBatch]) -> None:
    sinks = [Memory(), Sick(5), Memory()]
    sink = MultiSink(sinks)
    threads = [threading.Thread(target=lambda: [sink.write(batch) for batch in batches]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close()
    assert numbers(sinks[0]) == numbers(sinks[1]) == numbers(sinks[2])
    assert len(sinks[0]) == 4 * len(batches)


def test_places_and_arguments_are_checked_before_any_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    opened = Memory()
    with pytest.raises(StorageError, match="sink: expected a folder that can be written"):
        MultiSink([opened, tmp_path / "file"])
    assert opened.closed == 1
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        ([], {}, "sinks: expected one or more"),
        ("runs/a", {}, "sinks: expected one or more, got 'runs/a'"),
        ([5], {}, "sink: expected a path"),
        ([opened], {"policy": "most"}, "policy: expected one of all, any, got 'most'"),
        ([opened], {"max_waiting": 0}, "max_waiting: expected"),
        ([opened], {"max_waiting_bytes": 0}, "max_waiting_bytes: expected"),
        ([opened], {"overflow": "wait"}, "overflow: expected one of raise, block, drop_oldest, got 'wait'"),
    ]
    for sinks, options, text in wrong:
        with pytest.raises(ConfigError, match=text):
            MultiSink(sinks, **options)
    with pytest.raises(ConfigError, match="sink: expected a path, an object"):
        ExperienceRecorder(generals_env.parallel_env(), [])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_former_name_of_max_waiting_is_taken_with_a_warning(batches: list[ExperienceBatch]) -> None:
    with pytest.warns(DeprecationWarning, match="most_waiting is now called max_waiting: use max_waiting"):
        sink = MultiSink([Sick(), Memory()], most_waiting=1)
    sink.write(batches[0])
    with pytest.raises(StorageError, match="write: expected room"):
        sink.write(batches[1])
