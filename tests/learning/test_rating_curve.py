"""Tests the table and the picture of the ratings of a training."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from generals_env import StorageError
from generals_env.arena.game_kind import game_config
from generals_env.learning.curves import read_curve
from generals_env.learning.self_play.rating_curve import RatingCurve
from generals_env.learning.self_play.training_ratings import TrainingRatings
from generals_env.networks.policy_network import PolicyNetwork


def network(seed: int) -> PolicyNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PolicyNetwork("full", 4, 1)


def test_ratings_are_written_and_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    config = game_config(height=5, width=5, max_turns=40)
    ratings = TrainingRatings(config, ("random", "expander"), games=4, selves=1)
    curve = RatingCurve(tmp_path)
    ratings.add(network(1), 100)
    curve.add(ratings, 0.5)
    assert not curve.picture.exists(), "one rating is no curve"
    second = ratings.add(network(2), 250)
    curve.add(ratings, 1.0)
    assert curve.picture.read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(curve.table.read_text().splitlines()))
    assert [row["samples"] for row in rows] == ["100", "250"]
    assert rows[1]["player"] == second.player
    assert float(rows[1]["elo"]) == pytest.approx(second.elo.value, abs=0.06)
    assert float(rows[1]["elo_low"]) <= float(rows[1]["elo"]) <= float(rows[1]["elo_high"])
    assert int(rows[1]["games"]) == 12
    wins = read_curve(curve.table)
    assert list(wins.wins) == ["random", "expander"]
    assert wins.games["expander"].tolist() == [4, 4]


def test_a_continued_run_adds_to_its_table(tmp_path: Path) -> None:
    ratings = TrainingRatings(game_config(height=5, width=5, max_turns=20), ("random", "expander"), games=2, selves=0)
    ratings.add(network(1), 100)
    RatingCurve(tmp_path).add(ratings, 2.0)
    RatingCurve(tmp_path).add(ratings, 3.0)
    assert [float(row["minutes"]) for row in RatingCurve(tmp_path).rows] == [2.0, 3.0]
    (tmp_path / "ratings.csv").write_text("another,table\n1,2\n")
    with pytest.raises(StorageError, match="folder: expected a table of ratings"):
        RatingCurve(tmp_path)
