"""Tests the evaluation of policies: counts of games from both seats, and evaluations during training."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.learning.evaluation import GameCounts, PeriodicEvaluation, play_games, result_table, win_text

SMALL: dict[str, Any] = {"height": 5, "width": 5, "max_turns": 400}


def passing(views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Pass in each game."""
    return np.full(len(views["action_mask"]), views["action_mask"].shape[1] - 1)


def test_stronger_policy_wins_and_both_seats_are_played() -> None:
    seats: list[int] = []

    def watching(views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
        assert views["observation"].shape[1:] == (21, 5, 5)
        seats.append(len(views["observation"]))
        return passing(views)

    told: list[int] = []
    found = play_games(watching, "expander", 20, seed=3, observation="full", on_games=told.append, **SMALL)
    assert seats[0] == 20  # all games at once, ten from each seat
    assert found.games == told[-1] == 20
    assert found.lost > 10
    assert found.won == 0
    assert found.turns < 400
    assert play_games("expander", passing, 20, seed=3, **SMALL).won == found.lost  # the same games, seen from the other side


def test_games_without_a_winner_are_tied_and_not_won() -> None:
    found = play_games(passing, passing, 6, **SMALL)
    assert found == GameCounts(won=0, lost=0, tied=6, turns=400.0)
    assert found.wins == 0
    assert win_text({"expander": GameCounts(3, 1, 0, 9.5), "random": found}) == "75% against expander, 0% against random"


def test_games_repeat_by_seed_and_random_moves_change_them() -> None:
    one, same = (play_games("expander", "expander", 40, seed=5, **SMALL) for _ in range(2))
    assert one == same
    assert one != play_games("expander", "expander", 40, seed=6, **SMALL)
    still, stirred = (play_games(passing, "expander", 10, seed=5, random_moves=share, **SMALL) for share in (0.0, 1.0))
    assert still.turns != stirred.turns  # it moves now, and so is found later or sooner


def test_wrong_arguments_of_evaluations_are_refused(tmp_path: Path) -> None:
    for wrong, text in (
        ({"games": 3}, "games: expected an even number"),
        ({"random_moves": 2}, "random_moves: expected a number from 0 to 1"),
        ({"players": 3}, "players: expected 2"),
    ):
        with pytest.raises(ConfigError, match=text):
            play_games("expander", "random", **{"games": 4, **SMALL, **wrong})
    with pytest.raises(ConfigError, match="every: expected a number of minutes"):
        PeriodicEvaluation(tmp_path, every=0, **SMALL)
    with pytest.raises(StateError, match="player 'policy': expected"):
        play_games(lambda views: np.zeros(1), "random", 4, **SMALL)
    (tmp_path / "progress.csv").write_text("other,table\n1,2\n")
    with pytest.raises(StorageError, match="table: expected a CSV file"):
        PeriodicEvaluation(tmp_path, **SMALL)


def test_evaluations_during_training_continue_their_table(tmp_path: Path) -> None:
    evaluation = PeriodicEvaluation(tmp_path / "run", ("random",), games=50, every=2.0, **SMALL)
    assert evaluation.is_due(0.0)
    first = evaluation("expander", 0.5, 100)
    assert first["random"].games == 50
    assert not evaluation.is_due(2.0)
    assert evaluation.is_due(2.5)
    evaluation("random", 2.5, 200)
    continued = PeriodicEvaluation(tmp_path / "run", ("random",), games=50, every=2.0, **SMALL)
    continued("expander", 1.0, 300)
    rows = list(csv.DictReader((tmp_path / "run" / "progress.csv").read_text().splitlines()))
    assert [float(row["minutes"]) for row in rows] == [0.5, 2.5, 3.5]
    assert [float(row["step"]) for row in rows] == [100, 200, 300]
    assert float(rows[0]["wins_random"]) == first["random"].wins == float(rows[2]["wins_random"])
    pytest.importorskip("matplotlib")
    assert (tmp_path / "run" / "curve.png").stat().st_size > 10_000


def test_result_table_has_a_row_for_each_opponent() -> None:
    table = result_table(passing, ("random", "expander"), 10, **SMALL)
    assert list(table.columns[0].cells) == ["random", "expander"]
    assert next(iter(table.columns[1].cells)) == "0.0%"
