"""Tests the curriculum: stages advance at exact counts of games, are logged, go back, survive a checkpoint, and are data."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from generals_env import ConfigError, GameConfig, StateError, StorageError
from generals_env.errors import OptionError
from generals_env.learning.self_play.curriculum import Curriculum
from generals_env.learning.self_play.curriculum_stages import Stage, board_stages, stages_of
from generals_env.learning.self_play.rolling_results import RollingResults

pytestmark = pytest.mark.checklist("Q4")

MIX = {"expander": 1.0, "self": 1.0}
ONE_GAME = {"expander": 1, "self": 1}


def two_stages(**first: Any) -> Curriculum:
    """Return a curriculum of two stages of games of 10 turns; the first one ends at 60% of 5 games."""
    game = {"height": 5, "width": 5, "max_turns": 10}
    options = {"rate": 0.6, "games": 5, **first}
    stages = [Stage("small", game, **options), Stage("large", {"max_turns": 10}, games=5, back=0.3)]
    return Curriculum(stages, MIX, 100)


def test_rolling_results_keep_the_last_games() -> None:
    window = RollingResults(10)
    for block in ((6, 0, 0), (0, 3, 1), (0, 0, 0), (1, 2, 3)):
        window.add(block)
    # Without the first block the others hold 10 games, as many as the window: 1 won, 5 lost, 4 drawn.
    assert window.counts.tolist() == [1, 5, 4]
    assert (window.games, window.full, window.win_rate, window.draw_rate) == (10, True, 0.1, 0.4)
    window.add((9, 0, 0))
    assert window.counts.tolist() == [10, 2, 3], "9 games alone are too few, so the block before is kept"
    window.clear()
    assert (window.games, window.win_rate, window.draw_rate) == (0, 0.0, 0.0)


def test_curriculum_advances_at_the_exact_share(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    course = two_stages()
    # 3 of 4 games won: too few games. 3 of 5: exactly 60%, but 8 turns are less than a game may last. Then 12 turns.
    assert course.observe({"expander": (3, 1, 0)}, ONE_GAME, 4) is None
    assert course.observe({"expander": (0, 0, 1)}, ONE_GAME, 4) is None
    assert course.figures() == {"stage": 0, "stage_wins": 0.6, "stage_games": 5}
    change = course.observe({"expander": (0, 0, 0)}, ONE_GAME, 4)
    assert change is not None
    assert (change.before, change.after, change.number, change.reason) == ("small", "large", 1, "won")
    assert (change.rate, change.games, change.turns) == (0.6, 5, 12)
    assert course.figures() == {"stage": 1, "stage_wins": 0.0, "stage_games": 0}, "games of a stage do not count in the next"
    assert caplog.messages == ["stage 1, 'large', follows 'small' after 12 turns (won): 60.0% of the last 5 games won"]
    assert course.changes == [change]


def test_curriculum_does_not_advance_below_the_share() -> None:
    course = two_stages()
    for _ in range(20):
        assert course.observe({"expander": (59, 31, 10)}, ONE_GAME, 10) is None, "a draw is not won"
    change = course.observe({"expander": (60, 0, 40)}, ONE_GAME, 10)
    assert change is not None
    assert change.rate == 0.6


def test_curriculum_counts_games_against_players_of_given_strength() -> None:
    course = two_stages()
    # Games against itself are half won at best, and say nothing about the level.
    assert course.observe({"self": (500, 0, 0), "expander": (0, 9, 0)}, ONE_GAME, 10) is None
    assert course.figures()["stage_wins"] == 0
    with pytest.raises(ConfigError, match="opponents: expected one besides self and pool in stage 'alone', got none"):
        Curriculum([Stage("alone")], {"self": 1.0, "pool": 1.0}, 10)
    with pytest.raises(ConfigError, match="counted: expected opponents of stage 'other', expander, self, got 'hunter'"):
        Curriculum([Stage("other", counted=("hunter",))], MIX, 10)


def test_curriculum_is_not_misled_by_the_short_games_that_end_first() -> None:
    course = two_stages()
    # 100 games at once of which 75 are won within 3 turns, the others cut off in turn 10: their rate is below the share
    # that the games that end first show, 100%.
    at_once = {"expander": 100}
    assert course.observe({"expander": (75, 0, 0)}, at_once, 3) is None
    assert course.observe({"expander": (56, 0, 0)}, at_once, 3) is None
    assert course.observe({"expander": (42, 0, 0)}, at_once, 3) is None, "9 turns: no game was cut off so far"
    assert course.figures()["stage_wins"] == 1.0
    assert course.observe({"expander": (0, 0, 25)}, at_once, 1) is None, "198 games are less than two for each at once"
    assert course.observe({"expander": (0, 0, 90)}, at_once, 1) is None
    assert course.figures()["stage_wins"] < 0.6, "98 of 213: the first blocks are no longer needed"


def test_curriculum_goes_back_after_losses() -> None:
    course = two_stages()
    course.observe({"expander": (5, 0, 0)}, ONE_GAME, 10)
    assert course.number == 1
    assert course.observe({"expander": (2, 3, 0)}, ONE_GAME, 10) is None, "40% is between the two shares"
    change = course.observe({"expander": (0, 5, 0)}, ONE_GAME, 10)
    assert change is not None
    assert (change.after, change.reason, change.rate) == ("small", "lost", 0.0)
    first = two_stages(back=0.5)
    assert first.observe({"expander": (0, 5, 0)}, ONE_GAME, 10) is None, "there is no stage before the first"


def test_curriculum_goes_on_when_its_time_is_over() -> None:
    course = two_stages(until=0.25)
    assert course.observe({"expander": (0, 5, 0)}, ONE_GAME, 10, progress=0.24) is None
    change = course.observe({"expander": (0, 5, 0)}, ONE_GAME, 10, progress=0.25)
    assert change is not None
    assert change.reason == "time"
    assert course.observe({"expander": (5, 0, 0)}, ONE_GAME, 10, progress=1.0) is None, "the last stage has no next one"


def test_curriculum_continues_from_its_state() -> None:
    one, other = two_stages(), two_stages()
    one.observe({"expander": (5, 0, 0)}, ONE_GAME, 10)
    one.observe({"expander": (2, 1, 0)}, ONE_GAME, 6)
    other.restore(json.loads(json.dumps(one.state())))
    assert other.figures() == one.figures() == {"stage": 1, "stage_wins": 2 / 3, "stage_games": 3}
    assert other.changes == one.changes
    results = {"expander": (1, 1, 0)}
    assert other.observe(results, ONE_GAME, 4) == one.observe(results, ONE_GAME, 4)
    assert other.state() == one.state()
    shorter = Curriculum([Stage("small")], MIX, 100)
    with pytest.raises(StateError, match="curriculum: expected the stages of the checkpoint, small, large, got small"):
        shorter.restore(one.state())


def test_stages_are_data(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    path.write_text(json.dumps([stage.to_dict() for stage in board_stages(12)]))
    assert stages_of(str(path), 8) == board_stages(12) == stages_of("ready", 12)
    near = {"name": "near", "game": {"start": {"spawn_distance": [2, 5]}}, "opponents": "expander=2,random"}
    assert stages_of([near], 8)[0].opponents == {"expander": 2.0, "random": 1.0}


@pytest.mark.parametrize("board", [4, 8, 12, 19])
def test_ready_stages_lead_to_the_board(board: int) -> None:
    stages = board_stages(board)
    Curriculum(stages, {"self": 1.0, "expander": 1.0}, 500)
    base = {"height": board, "width": board, "max_turns": 500}
    configs = [GameConfig.from_options(**{**base, **stage.game}) for stage in stages]
    sizes = [config.shape[0] for config in configs]
    assert sizes == sorted(sizes)
    assert sizes[0] == min(board, 8)
    assert sizes[-1] == board
    assert stages[-1].game == {}, "the last stage has the games of the training"
    limits = [stage.until for stage in stages[:-1]]
    assert limits == sorted(limits)  # type: ignore[type-var]
    assert max(limit for limit in limits if limit is not None) <= 0.6


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ([], "curriculum: expected one or more stages"),
        (7, "curriculum: expected one or more stages"),
        ([{"name": "a"}, {"name": "a"}], "curriculum: expected each name of a stage once"),
        ([{"game": {}}], "stage: expected a mapping with 'name'"),
        ([{"name": "a", "rate": 2}], "rate: expected a share from 0 to 1 in stage 'a', got 2"),
        ([{"name": "a", "rate": 0.5, "back": 0.5}], "back: expected a share below rate"),
        ([{"name": "a", "games": 0}], "games: expected"),
        ([{"name": "a", "counted": "expander"}], "counted: expected names of opponents"),
        ([{"name": "a", "opponents": "expander=no"}], "opponents: expected names with positive weights"),
    ],
)
def test_wrong_stages_are_refused(stages: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        stages_of(stages, 8)


def test_wrong_files_of_stages_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="curriculum: expected 'ready', 'sizes' or a JSON file"):
        stages_of(str(tmp_path / "none.json"), 8)
    with pytest.raises(OptionError, match="board"):
        stages_of([{"name": "a", "board": 6}], 8)
