"""Tests that draws that creep up in self-play are seen: figures, and warnings at exact shares."""

from __future__ import annotations

import json
import logging

import pytest

from generals_env.learning.self_play.draw_watch import DrawWatch


def test_draws_that_creep_up_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    watch = DrawWatch(games=100, rise=0.1)
    lines = []
    # Random play at first, which draws often; then draws fall to 5%, and creep up to 27% while wins stay alike.
    for draws in (60, 30, 5, 9, 14, 15, 16, 20, 24, 25, 27):
        won = (100 - draws) // 2
        lines.append(watch.observe({"self": (won, 100 - draws - won, draws), "random": (100, 0, 0)}))
        assert watch.figures() == {"draws_self": draws / 100, "draws_random": 0.0}
    warned = [number for number, found in enumerate(lines) if found]
    assert warned == [5, 9], "at 15%, 10 points above the lowest, and at 25%; not in between"
    text = "draws against self creep up: 15.0% of the last 100 games were drawn or cut off, 5.0% at the lowest: "
    assert lines[5][0].startswith(text)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_few_games_raise_no_warning() -> None:
    watch = DrawWatch(games=100, rise=0.1)
    assert watch.observe({"self": (99, 0, 0)}) == []
    assert watch.observe({"self": (0, 0, 1)}) == []
    assert watch.observe({"self": (0, 0, 0)}) == []
    assert watch.figures() == {"draws_self": 0.01}


def test_a_watch_continues_from_its_state() -> None:
    one, other = DrawWatch(100), DrawWatch(100)
    for draws in (5, 16):
        one.observe({"self": (100 - draws, 0, draws)})
    other.restore(json.loads(json.dumps(one.state())))
    assert other.state() == one.state()
    for draws in (20, 26):
        results = {"self": (100 - draws, 0, draws)}
        assert other.observe(results) == one.observe(results)
    one.clear()
    assert one.figures() == {}
