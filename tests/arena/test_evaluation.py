"""Tests the versioned tasks, and the evaluation of a player in one."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.command_line import run, runner

from generals_env.arena import task_scales
from generals_env.arena.evaluation import Evaluation, evaluate, task_digests
from generals_env.arena.store import Store
from generals_env.arena.tasks import RATED, TASKS, Task, find_task
from generals_env.cli.app import app
from generals_env.errors import ConfigError
from generals_env.version import __version__

#: A task that needs no compiled hunter.
SMALL = replace(TASKS["generals-8x8-v0"], opponents=("random", "expander"))


def passing(views: dict[str, object]) -> object:
    """Pass in all games."""
    import numpy as np

    masks = np.asarray(views["action_mask"])
    return np.full(len(masks), masks.shape[1] - 1)


def test_evaluation_rates_a_player_and_counts_its_games() -> None:
    told: list[tuple[int, int]] = []
    result = evaluate(f"{__name__}:passing", SMALL, games=8, on_games=lambda done, total: told.append((done, total)))
    assert result.player.startswith(f"{__name__}:passing")
    assert (result.wins[0], len(result.games), result.whole) == (0, 16, False)
    assert result.wins[0] + result.draws[0] + result.losses[0] == 16
    assert told[-1] == (16, 16)
    assert [comparison.opponent for comparison in result.comparisons] == ["random", "expander"]
    assert result.elo.high < 1000
    assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["task"]["name"] == "generals-8x8-v0"


def test_line_to_cite_names_task_player_version_and_intervals() -> None:
    result = evaluate("random", SMALL)
    expected = (
        r"generals-8x8-v0: random, Elo at most \d+, won 0\.0% \(0\.0 to 1\.9\), drawn 0\.0% \(0\.0 to 1\.9\), "
        rf"lost 100\.0% \(98\.1 to 100\.0\) of 200 games, 95% intervals, generals_env {re.escape(__version__)}"
    )
    assert re.fullmatch(expected, result.line())
    assert "(a part of the task)" in evaluate("random", SMALL, games=2).line()


def test_evaluation_is_repeated_exactly_and_goes_on_from_a_store(tmp_path: Path) -> None:
    whole = evaluate("random", SMALL, games=12)
    with Store(tmp_path) as store:
        evaluate("random", SMALL, games=4, store=store)
        again = evaluate("random", SMALL, games=12, store=store)
    assert comparable(again) == comparable(whole)


def comparable(result: Evaluation) -> tuple[object, ...]:
    """Return what must be equal in two evaluations."""
    return sorted(map(str, result.games)), result.elo, result.line()


def test_tasks_rate_their_opponents_with_the_expander_at_1000() -> None:
    for task in TASKS.values():
        scale = task.scale
        assert scale["expander"] == 1000
        assert set(scale) == set(RATED)
        assert set(task.opponents) == {*RATED, "random"}
        assert scale["expander"] < scale["hunter"] == max(scale.values())
        assert task.games % 2 == 0


def test_tasks_have_names_of_their_own_games() -> None:
    boards = {name: task.config for name, task in TASKS.items()}
    assert [boards[f"generals-{side}x{side}-v0"].shape for side in (8, 12, 20)] == [(8, 8), (12, 12), (20, 20)]
    assert {boards[name].max_turns for name in boards if "competition" not in name} == {1000}
    competition = boards["generals-competition-v0"]
    assert (competition.rules, competition.max_turns, competition.height) == ("competition", 1200, (18, 21))


@pytest.mark.parametrize("name", TASKS)
def test_opponents_of_tasks_play_as_when_they_were_rated(name: str) -> None:
    assert task_digests(TASKS[name]) == task_scales.DIGESTS[name], (
        "an opponent plays otherwise than when the task was made: raise the version of the task and measure its scale anew "
        "(tools/measure_tasks.py), so that results stay comparable"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("generals-8x8-v1", r"got 'generals-8x8-v1'; this version of the package has 'generals-8x8-v0': results of other"),
        ("chess", r"task: expected one of generals-8x8-v0, .*, got 'chess'$"),
    ],
)
def test_unknown_task_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_task(name)


@pytest.mark.parametrize(
    ("player", "task", "games", "message"),
    [
        ("random", 8, None, "task: expected a Task or its name, got 8"),
        ("random", SMALL, 3, "games: expected an even number"),
        ("random", SMALL, 400, "games: expected an integer from 2 to 200, got 400"),
        ("missing.pt", SMALL, 2, "player: expected "),
        ("stdio:bot", SMALL, 2, "rules: expected competition for a program"),
    ],
)
def test_evaluation_refuses_other_arguments(player: str, task: str | Task, games: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate(player, task, games=games)


def test_command_prints_one_line_to_cite_or_json() -> None:
    text = run("evaluate", "random", "--task", "generals-8x8-v0", "--games", "2")
    assert re.search(r"generals-8x8-v0: random, Elo at most \d+, won .* of \d+ games \(a part of the task\), 95%", text)
    found = json.loads(run("evaluate", "random", "--task", "generals-8x8-v0", "--games", "2", "--json"))
    assert found["line"] in text
    assert [one["opponent"] for one in found["opponents"]] == list(RATED)


def test_command_names_the_tasks_if_one_is_unknown() -> None:
    result = runner.invoke(app, ["evaluate", "random", "--task", "chess"])
    assert isinstance(result.exception, ConfigError)
    assert "task: expected one of generals-8x8-v0" in str(result.exception)
