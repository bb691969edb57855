"""Tests rates, scores and their intervals, against simulated players of known strength."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.simulated_players import NAMES, played, simulated_table

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.game_table import GameTable
from generals_env.arena.statistics.intervals import compare, elo_of_score, mean_of_opponents, rate_interval, score_of_elo
from generals_env.errors import ConfigError

REPETITIONS = 500
MARGIN = 2.6 * math.sqrt(0.95 * 0.05 / REPETITIONS)  # of a share of 500 that should be 95%


def test_comparison_counts_games_of_one_player_from_both_seats() -> None:
    games = [played("a", "b", "1"), played("b", "a", "="), played("a", "b", "-", 1), played("b", "a", "0", 2)]
    found = compare([*games, played("c", "a", "1")], "a", "b")
    assert (found.games, found.wins, found.draws, found.losses, found.cut_offs, found.pairs) == (4, 2, 2, 0, 1, 1)
    assert found.seats == ((1, 1, 0), (1, 1, 0))
    assert found.score.value == 0.75
    assert found.win_rate.value == 0.5
    mirrored = compare(games, "b", "a")
    assert mirrored.loss_rate == found.win_rate
    assert mirrored.elo.value == pytest.approx(-found.elo.value)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["win_rate"]["value"] == 0.5


def test_intervals_of_unpaired_rates_are_those_of_wilson() -> None:
    games = [played("a", "b", "1", number) for number in range(9)] + [played("a", "b", "0", 9)]
    z = 1.959963984540054
    middle, width = (0.9 + z * z / 20) / (1 + z * z / 10), z * math.sqrt(0.9 * 0.1 / 10 + z * z / 400) / (1 + z * z / 10)
    assert compare(games, "a", "b").win_rate == pytest.approx((0.9, middle - width, middle + width))


@pytest.mark.parametrize(
    ("strength", "maps", "options"),
    [
        (0.0, 100, {}),
        (0.4, 50, {"seat_of_map": 2.0}),
        (1.0, 100, {"suits_of_map": 2.0, "log_draw": -2.0}),
        (3.0, 200, {"seat": 0.5, "log_draw": -3.0}),
        (0.5, 20, {"seat_of_map": 1.0}),
    ],
)
def test_intervals_of_rates_cover_the_truth(strength: float, maps: int, options: dict[str, float]) -> None:
    rng = np.random.default_rng(1)
    many = compare(simulated_table((0.0, strength), 400_000, rng, **options), "hunter", "expander")
    truth = np.array([many.win_rate.value, many.draw_rate.value, many.score.value])
    covered = np.zeros(3)
    for _ in range(REPETITIONS):
        found = compare(simulated_table((0.0, strength), maps, rng, **options), "hunter", "expander")
        intervals = np.array([found.win_rate, found.draw_rate, found.score])
        covered += (intervals[:, 1] <= truth) & (truth <= intervals[:, 2])
    assert (abs(covered / REPETITIONS - 0.95) < MARGIN + 0.005).all(), covered / REPETITIONS


def test_intervals_of_totals_cover_the_truth() -> None:
    rng = np.random.default_rng(9)
    strengths = (0.0, 4.0, 0.5, -2.0)

    def total(maps: int) -> tuple[float, float, float]:
        table = simulated_table(strengths, maps, rng, seat_of_map=1.0)
        parts = [table.between("expander", name) for name in NAMES[1:]]
        return mean_of_opponents(
            [
                (part, ((part.first == 0) & (part.results == 2) | (part.second == 0) & (part.results == 0)) * 1.0)
                for part in parts
            ]
        )

    truth = total(300_000)[0]
    found = np.array([total(50) for _ in range(REPETITIONS)])
    covered = ((found[:, 1] <= truth) & (truth <= found[:, 2])).mean()
    assert abs(covered - 0.95) < MARGIN + 0.005, covered


def test_intervals_of_fair_pairs_on_unfair_maps_are_narrow() -> None:
    rng = np.random.default_rng(2)
    fair = compare(simulated_table((0.0, 0.0), 200, rng), "hunter", "expander").score
    unfair = compare(simulated_table((0.0, 0.0), 200, rng, seat_of_map=6.0), "hunter", "expander").score
    assert unfair.high - unfair.low < 0.8 * (fair.high - fair.low)


def test_counts_have_the_intervals_of_independent_games() -> None:
    counted = compare(GameTable.from_counts({("a", "b"): (30, 10, 20), ("b", "a"): (25, 5, 10)}), "a", "b")
    assert (counted.wins, counted.draws, counted.losses, counted.pairs) == (40, 15, 45, 0)
    assert counted.win_rate == pytest.approx(rate_interval(40, 100))


@given(st.integers(0, 50), st.integers(1, 50))
def test_rate_interval_holds_the_rate_and_stays_in_range(wins: int, losses: int) -> None:
    found = rate_interval(wins, wins + losses)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.low < found.high


@given(st.floats(-2000, 2000))
def test_elo_and_score_are_inverse(elo: float) -> None:
    assert elo_of_score(score_of_elo(elo)) == pytest.approx(elo, abs=1e-6)


def test_elo_of_all_points_is_infinite_and_none_in_json() -> None:
    found = compare([played("a", "b", "1", number) for number in range(20)], "a", "b")
    assert found.elo.value == found.elo.high == math.inf
    assert found.elo.low > 200
    assert found.to_dict()["elo"]["value"] is None


@pytest.mark.parametrize(
    ("games", "message"),
    [
        ([], "games: expected at least one game, got none: play some first"),
        (
            [played("a", "b", "1"), played("a", "b", "1", board="12x12")],
            "games: expected games of one kind, got '8x8' and '12x12'",
        ),
        ([PlayedGame(("a", "b", "c"), 0, "won", 9, "", 1, 1)], "expected the names of two players, got .'a', 'b', 'c'"),
        ([PlayedGame(("a", "b"), 2, "won", 9, "", 1, 1)], "expected winner 0 or 1 of a game that ended by 'won'"),
        ([PlayedGame(("a", "b"), 0, "draw", 9, "", 1, 1)], "got winner 0 and 'draw'"),
        (["a beat b"], "expected PlayedGame objects, got 'a beat b'"),
        ([played("a", "c", "1"), played("b", "c", "1")], "expected games of 'a' against 'b', got none"),
        ([played("a", "c", "1")], "opponent: expected a player with games, one of 'a, c', got 'b'"),
    ],
)
def test_comparison_refuses_other_games(games: list[PlayedGame], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(games, "a", "b")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "counts: expected at least one game, got none"),
        ({("a", "b"): (0, 0, 0)}, "counts: expected at least one game"),
        ({("a", "b"): (1, 2)}, "counts: expected wins, draws and losses of .'a', 'b'., got .1, 2"),
        ({("a", "b"): (1, 2, -1)}, "counts: expected a non-negative integer, got -1"),
        ({("a", "b"): (1, 2, 10**40)}, "counts: expected at most 1,000,000,000,000 games"),
        ({("a", ""): (1, 2, 1)}, "expected the names of two players"),
    ],
)
def test_counts_refuse_other_numbers(counts: dict[tuple[str, str], tuple[int, int, int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GameTable.from_counts(counts)


@pytest.mark.parametrize("level", [0, 1, 95, "95%", math.nan, True])
def test_level_of_intervals_is_checked(level: float) -> None:
    with pytest.raises(ConfigError, match="level: expected a number between 0 and 1, such as"):
        compare([played("a", "b", "1")], "a", "b", level=level)
