"""Several sinks at once: a result for each, and none that is slow or fails is in the way of others."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import PATIENCE, Memory, idle
from test_dataset_writer import everything, key, recorded

import generals_env
from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceLog,
    ExperienceRecorder,
    MultiSink,
    ReplayBuffer,
)


class Sick(Memory):
    """A sink that refuses every second batch, and everything else."""

    def write(self, batch: ExperienceBatch) -> None:  # type: ignore[override]
        self.append(batch)
        if len(self) % 2 == 0:
            raise StorageError("sink: expected to be well, got sick")

    def flush(self) -> None:
        raise OSError("sick")

    close = flush


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


def test_everything_goes_everywhere_and_each_tells_what_came_of_it(batches: list[ExperienceBatch], tmp_path: Path) -> None:
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


def test_recorders_take_several_places(tmp_path: Path) -> None:
    memory = Memory()
    with ExperienceRecorder(generals_env.parallel_env(height=6, width=6), [tmp_path / "a", str(tmp_path / "b"), memory]) as env:
        env.reset(seed=1)
        idle(env, 5)
    assert len(everything(tmp_path / "a")) == len(everything(tmp_path / "b")) == sum(map(len, memory)) == 10
    assert memory.closed == 1


def test_with_all_a_failure_is_told_and_others_have_the_batch(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    sick, well = Sick(), Memory()
    sink = MultiSink([sick, well])
    sink.write(batches[0])
    with pytest.raises(StorageError, match=r"write: expected all of 2 sinks to succeed, got Sick: sink: expected to be well"):
        sink.write(batches[1])
    sink.write(batches[2])  # a sink that failed is tried again
    assert len(well) == 3
    assert sink.lost == [37, 0]
    assert "sick" in str(sink.errors[0])
    with pytest.raises(StorageError, match="flush: expected all of 2 sinks to succeed, got Sick: sick"):
        sink.flush()
    assert well.flushed == 1
    with pytest.raises(StorageError, match="close"):
        sink.close()
    assert well.closed == 1


def test_with_any_one_that_succeeds_is_enough(batches: list[ExperienceBatch]) -> None:
    sick, well = Sick(), Memory()
    sink = MultiSink([sick, well], policy="any")
    for batch in batches[:4]:
        sink.write(batch)
    sink.flush()
    assert (len(well), well.flushed) == (4, 1)
    sink.close()
    assert sink.lost == [74, 0]
    both = MultiSink([Sick(), Sick()], policy="any")
    both.write(batches[0])
    with pytest.raises(StorageError, match=r"write: expected any of 2 sinks to succeed, got Sick: .*; Sick: "):
        both.write(batches[1])


def test_with_any_a_slow_sink_holds_nobody_up_and_misses_what_is_too_much(batches: list[ExperienceBatch]) -> None:
    slow, fast = Slow(), Memory()
    sink = MultiSink([slow, fast], policy="any", most_waiting=3)
    results = [sink.write(batches[0])]
    assert slow.begun.wait(PATIENCE)
    results += [sink.write(batch) for batch in batches[1:7]]
    assert len(fast) == 7
    waiting = [result[0] for result in results if isinstance(result[0], Future)]
    refused = [result[0] for result in results if isinstance(result[0], StorageError)]
    assert (len(waiting), len(refused)) == (4, 3)  # one in the sink, three in the queue
    assert "expected Slow to keep up, got 3 batches waiting" in str(refused[0])
    assert sink.lost == [sum(map(len, batches[len(waiting) : 7])), 0]
    slow.may_go.set()
    assert [future.result(PATIENCE) for future in waiting] == ["slow"] * len(waiting)
    sink.close()
    assert np.array_equal(slow.column("sequence"), np.concatenate([b.sequence for b in batches[: len(waiting)]]))


def test_places_and_arguments_are_checked_before_anything_is_written(tmp_path: Path) -> None:
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
        ([opened], {"most_waiting": 0}, "most_waiting: expected"),
    ]
    for sinks, options, text in wrong:
        with pytest.raises(ConfigError, match=text):
            MultiSink(sinks, **options)
    with pytest.raises(ConfigError, match="sink: expected a path, an object"):
        ExperienceRecorder(generals_env.parallel_env(), [])
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
