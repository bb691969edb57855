"""Tests the rating of a player against opponents of known ratings, against simulated players of known strength."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.simulated_players import played, simulated_table

from generals_env.arena.statistics.game_table import GameTable
from generals_env.arena.statistics.intervals import ELO, elo_of_score
from generals_env.arena.statistics.placement import place
from generals_env.arena.statistics.ratings import rate
from generals_env.errors import ConfigError

REPETITIONS = 500


def test_intervals_of_placed_players_cover_the_truth() -> None:
    rng = np.random.default_rng(8)
    strengths = (0.0, 1.2, 2.5, 0.7)
    scale = dict(zip(("expander", "hunter", "planner"), 1000 + ELO * np.array(strengths), strict=False))
    truth, covered = 1000 + ELO * 0.7, 0
    for _ in range(REPETITIONS):
        found = place(simulated_table(strengths, 40, rng, seat=0.3, draw_share=0.2), "sleeper", scale)
        covered += found.low <= truth <= found.high
    assert abs(covered / REPETITIONS - 0.95) < 2.6 * math.sqrt(0.95 * 0.05 / REPETITIONS) + 0.005


def test_placement_against_one_opponent_is_the_rating() -> None:
    table = GameTable.from_counts({("expander", "a"): (10, 4, 50), ("a", "expander"): (52, 5, 7)})
    assert tuple(place(table, "a", {"expander": 1000})) == pytest.approx(tuple(rate(table)["a"].elo), abs=0.01)
    assert tuple(place(table, "a", {"expander": 0, "b": 5})) == pytest.approx(
        tuple(rate(table, anchor_elo=0)["a"].elo), abs=0.01
    )


def test_games_against_opponents_off_the_scale_are_left_out() -> None:
    counts = {("a", "b"): (10, 4, 5), ("b", "a"): (7, 5, 7)}
    more = counts | {("a", "random"): (100, 0, 0), ("random", "b"): (0, 0, 100)}
    assert place(GameTable.from_counts(more), "a", {"b": 900}) == place(GameTable.from_counts(counts), "a", {"b": 900})


@pytest.mark.parametrize(("result", "sign"), [("1", 1), ("0", -1)])
def test_player_that_won_or_lost_all_games_has_an_open_interval(result: str, sign: int) -> None:
    games = [played("a", name, result, number) for name in ("b", "c") for number in range(50)]
    games += [played(name, "a", "10"[int(result)], number) for name in ("b", "c") for number in range(50)]
    found = place(games, "a", {"b": 1000.0, "c": 1400.0})
    assert (found.high if sign > 0 else found.low) == sign * math.inf
    assert sign * (found.value - 1200) > 500
    assert math.isfinite(found.low if sign > 0 else found.high)


def test_open_interval_ends_where_the_results_are_improbable() -> None:
    table = GameTable.from_counts({("a", "b"): (20, 0, 0), ("b", "a"): (0, 0, 20)})
    assert place(table, "a", {"b": 1000.0}).low == pytest.approx(1000 + elo_of_score(0.025 ** (1 / 40)))
    assert place(table, "a", {"b": 1000.0}, level=0.5).low == pytest.approx(1000 + elo_of_score(0.25 ** (1 / 40)))
    many = GameTable.from_counts({("a", "b"): (0, 0, 10**11)})
    assert place(many, "a", {"b": 1000.0}).high == pytest.approx(1000 - ELO * math.log(10**11 / -math.log(0.025)), abs=1)


@pytest.mark.parametrize(
    ("player", "scale", "message"),
    [
        ("a", {"a": 1000, "b": 900}, "player: expected one that is not on the scale, got 'a'"),
        ("a", {"c": 1000}, "games: expected games of 'a' against one of 'c', got none"),
        ("d", {"c": 1000}, "player: expected a player with games, one of 'a, b', got 'd'"),
    ],
)
def test_placement_refuses_players_without_games(player: str, scale: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        place([played("a", "b", "1")], player, scale)
