"""Tests that each key of the section ``collection`` changes what a run does, and that each key of all has such a test."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import Memory, wait_until
from support.settings_effects import collecting, opened, settings_of, shows
from support.stream_calls import GAMES

from generals_env.operations.run import pipeline as pipeline_module
from generals_env.operations.run.collector import Collector
from generals_env.operations.run.supervisor import Supervisor
from generals_env.operations.settings.keys import KEYS

pytestmark = pytest.mark.checklist("K10")

NO_LOG = {"log.enabled": False}


class Gate(Memory):
    """A sink that takes nothing until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()

    def write(self, batch: Any) -> None:
        self.open.wait()
        self.append(batch)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Return a sink that stands at the end of pipelines without log, files and stream."""
    made = Gate()
    monkeypatch.setattr(pipeline_module, "NoSink", lambda: made)
    yield made
    made.open.set()


@shows("collection.enabled")
def test_enabled_decides_whether_games_are_recorded(tmp_path: Path) -> None:
    counts = []
    for enabled in (True, False):
        settings = settings_of(tmp_path / str(enabled), {"collection.enabled": enabled, "collection.max_games": 4})
        collector = Collector(settings)
        status = collector.run(lambda _: None)
        counts.append((status["games"] >= 4, status["experiences"] > 0, status["log"]["next"] > 0))
    assert counts == [(True, True, True), (True, False, False)]


@shows("collection.buffer_size")
def test_buffer_size_is_the_capacity_and_limits_a_call(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    for size in (50, 60):
        with opened(settings_of(tmp_path, {**NO_LOG, "collection.buffer_size": size})) as pipeline:
            assert pipeline.buffered.stats().capacity == size


@shows("collection.overflow")
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("overflow", ["drop_oldest", "drop_newest"])
def test_overflow_decides_what_a_full_buffer_does(tmp_path: Path, gate: Gate, overflow: str, live: bool) -> None:
    base = {**NO_LOG, "collection.buffer_size": 40}
    changed = settings_of(tmp_path, {**base, "collection.overflow": overflow})
    with opened(settings_of(tmp_path, base) if live else changed) as pipeline:
        writer = threading.Thread(target=pipeline.top.write, args=(GAMES[0],))
        writer.start()
        if live:
            wait_until(lambda: pipeline.buffered.stats().waiting_writers)
            pipeline.change(changed)
        writer.join()
        stats = pipeline.buffered.stats()
        gate.open.set()
    dropped = {"drop_oldest": stats.dropped_oldest, "drop_newest": stats.dropped_newest}
    assert dropped.pop(overflow) > 0
    assert set(dropped.values()) == {0}


@shows("collection.keep_probability", "collection.pressure_threshold", "collection.pressure_keep_probability")
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("base", "key", "value"),
    [
        ({}, "collection.keep_probability", 0.0),
        ({"collection.pressure_keep_probability": 0.0}, "collection.pressure_threshold", 0.0),
        ({"collection.pressure_threshold": 0.0}, "collection.pressure_keep_probability", 0.0),
    ],
)
def test_sampling_keys_decide_what_is_kept(
    tmp_path: Path, gate: Gate, base: dict[str, Any], key: str, value: float, live: bool
) -> None:
    gate.open.set()
    before, after = settings_of(tmp_path, NO_LOG | base), settings_of(tmp_path, NO_LOG | base | {key: value})
    with opened(before) as pipeline:
        pipeline.top.write(GAMES[0])
        assert pipeline.buffered.stats().sampled_out == 0
        if live:
            pipeline.change(after)
            pipeline.top.write(GAMES[1])
            assert pipeline.buffered.stats().sampled_out > 100
    if not live:
        with opened(after) as pipeline:
            pipeline.top.write(GAMES[0])
            assert pipeline.buffered.stats().sampled_out > 100


@shows("collection.validation")
def test_validation_drops_invalid_experience(tmp_path: Path, gate: Gate) -> None:
    gate.open.set()
    rows = GAMES[0].rows.copy()
    rows["reward"][3] = np.nan
    added = {}
    for validation in (True, False):
        with opened(settings_of(tmp_path, {**NO_LOG, "collection.validation": validation})) as pipeline:
            pipeline.top.write(replace(GAMES[0], rows=rows))
            added[validation] = (pipeline.buffered.stats().added, pipeline.status().get("invalid"))
    assert added == {True: (len(rows) - 1, 1), False: (len(rows), None)}


@shows("collection.turns_per_second")
def test_turns_per_second_lets_games_pause_and_is_live(tmp_path: Path) -> None:
    """At 1e-6 turns a second one call is played for ever; the limit is lifted while the run pauses."""
    slow = settings_of(tmp_path, {"collection.turns_per_second": 1e-6})
    with collecting(slow) as collector:
        wait_until(lambda: collector.status()["turns"])
        first = collector.status()["turns"]
        for _ in range(3):
            collector._beat = -1.0
            wait_until(lambda: collector._beat > 0)  # it looks at the clock, and does not play
        assert collector.status()["turns"] == first
        collector.change(settings_of(tmp_path))
        wait_until(lambda: collector.status()["turns"] > 2 * first)


@shows("collection.max_games")
def test_max_games_ends_a_collector(tmp_path: Path) -> None:
    games = [
        Collector(settings_of(tmp_path / str(limit), {"collection.max_games": limit})).run(lambda _: None)["games"]
        for limit in (1, 30)
    ]
    assert 1 <= games[0] < 30 <= games[1]


@shows("collection.max_seconds")
def test_max_seconds_ends_a_run(tmp_path: Path) -> None:
    """It is over once it has played for that time; a run without the limit goes on, and is ended by this test."""
    supervisor = Supervisor(settings_of(tmp_path, {"collection.max_seconds": 0.001}))
    states: list[str] = []

    def look() -> None:
        states.append(supervisor.state)
        if states.count("running") > 5:
            supervisor.ask_to_end()

    assert supervisor.run(look) == 0
    assert 1 <= states.count("running") <= 2


def shown_keys() -> list[str]:
    """Return the arguments of all decorators ``shows`` in the files of these tests."""
    trees = [ast.parse(path.read_text()) for path in sorted(Path(__file__).parent.glob("test_settings_effects*.py"))]
    return [
        argument.value
        for tree in trees
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "shows"
        for argument in decorator.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def test_each_key_has_a_test_of_its_effect() -> None:
    assert sorted(set(KEYS) - set(shown_keys())) == []
