"""Tests the sequential test: its error rates on simulated players of known strength, its formula, and its input."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from support.simulated_players import played

from generals_env.arena.statistics.bradley_terry import probabilities
from generals_env.arena.statistics.intervals import score_of_elo
from generals_env.arena.statistics.sprt import Sprt, log_likelihood_ratio
from generals_env.errors import ConfigError

SIMULATIONS = 500
ELO0, ELO1 = 0.0, 60.0


def decided_share(elo: float, seat: float, paired: bool) -> float:
    """Return the share of simulated tests that accept ``elo1``; each pair of games has both seats."""
    rng = np.random.default_rng(7)
    test = Sprt(ELO0, ELO1, paired=paired)

    def shares_of(strength: float) -> np.ndarray:
        return probabilities(np.array([strength + seat, strength - seat]), -1.0)

    strength = brentq(lambda s: (shares_of(s) @ [0, 0.5, 1]).mean() - score_of_elo(elo), -5, 5)
    limits = shares_of(strength).cumsum(axis=1)[:, :2]
    counts = np.zeros((SIMULATIONS, len(test.counts)))
    accepted = np.full(SIMULATIONS, np.nan)
    for _ in range(4000):
        running = np.flatnonzero(np.isnan(accepted))
        if not len(running):
            break
        points = (rng.random((len(running), 2))[:, :, None] > limits).sum(axis=2)
        for outcome in [points.sum(axis=1)] if paired else points.T:
            counts[running, outcome] += 1
        ratio = log_likelihood_ratio(counts[running], ELO0, ELO1)
        accepted[running] = np.where(ratio >= test.upper, 1, np.where(ratio <= test.lower, 0, np.nan))
    assert not np.isnan(accepted).any()
    return float(accepted.mean())


@pytest.mark.parametrize(("seat", "paired"), [(0.0, True), (1.0, True), (0.0, False)])
def test_sequential_test_keeps_its_error_rates(seat: float, paired: bool) -> None:
    margin = 2.6 * math.sqrt(0.05 * 0.95 / SIMULATIONS)
    for share in (decided_share(ELO0, seat, paired), 1 - decided_share(ELO1, seat, paired)):
        assert 0.01 < share < 0.05 + margin


def test_pairs_decide_sooner_on_unfair_seats() -> None:
    paired, unpaired = Sprt(0, 50), Sprt(0, 50, paired=False)
    for scores in ([1.0, 0.0], [1.0, 0.0], [1.0, 0.5]) * 25:
        paired.update([sum(scores) / 2])
        unpaired.update(scores)
    assert paired.state.accepted == "elo1"
    assert unpaired.state.accepted is None


@pytest.mark.parametrize("counts", [(3, 10, 40, 12, 5), (20, 5, 30), (1, 0, 4, 0, 30)])
def test_likelihood_ratio_is_that_of_the_best_distributions(counts: tuple[int, ...]) -> None:
    seen, outcomes = np.array(counts) + 1e-3, np.linspace(0, 1, len(counts))
    best = []
    for elo in (0.0, 80.0):
        mean = {"type": "eq", "fun": lambda p, elo=elo: p @ outcomes - score_of_elo(elo)}
        total = {"type": "eq", "fun": lambda p: p.sum() - 1}
        start = np.full(len(counts), 1 / len(counts))
        bounds = [(1e-12, 1)] * len(counts)
        found = minimize(lambda p: -(seen * np.log(p)).sum(), start, constraints=[mean, total], bounds=bounds, tol=1e-12)
        best.append(-found.fun)
    assert log_likelihood_ratio(counts, 0, 80) == pytest.approx(best[1] - best[0], abs=0.002)


@given(st.lists(st.integers(0, 200), min_size=5, max_size=5))
def test_likelihood_ratio_changes_sign_with_the_players(counts: list[int]) -> None:
    assert log_likelihood_ratio(counts, -20, 30) == pytest.approx(-log_likelihood_ratio(counts[::-1], -30, 20), abs=1e-6)


def test_games_count_when_both_of_their_map_are_played() -> None:
    test = Sprt(0, 100)
    state = test.update_games([played("a", "b", "1"), played("a", "b", "=", 1)], "a")
    assert (state.counts, state.waiting) == ((0, 0, 0, 0, 0), 2)
    state = test.update_games([played("b", "a", "1", 1), played("b", "a", "0")], "a")
    assert (state.counts, state.waiting) == ((0, 1, 0, 0, 1), 0)
    same = Sprt(0, 100).update([0.25, 1.0])
    assert state == same
    assert json.loads(json.dumps(state.to_dict()))["accepted"] is None
    assert Sprt(0, 100, paired=False).update_games([played("a", "b", "-")], "b").counts == (0, 1, 0)


def test_decision_stands_whatever_follows() -> None:
    test = Sprt(0, 50)
    assert test.update([1.0] * 100).accepted == "elo1"
    state = test.update([0.0] * 1000)
    assert state.llr < state.lower
    assert state.accepted == "elo1"
    assert Sprt(0, 50).update([0.0] * 100).accepted == "elo0"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sprt(10, 10), "elo1: expected a number above elo0 = 10, got 10: swap them"),
        (lambda: Sprt(math.nan, 10), "elo0: expected a number from -2000 to 2000, got nan"),
        (lambda: Sprt(0, "10"), "elo1: expected a number from -2000 to 2000, got '10'"),
        (lambda: Sprt(0, 10, alpha=0.5), "alpha: expected a number between 0 and 0.5, such as 0.05, got 0.5"),
        (lambda: Sprt(0, 10, beta=0), "beta: expected a number between 0 and 0.5"),
        (lambda: Sprt(0, 10, paired=1), "paired: expected True or False, got 1"),
        (lambda: Sprt(0, 10).update([0.5, 0.3]), "scores: expected one of 0, 0.25, 0.5, 0.75, 1, got 0.3"),
        (lambda: Sprt(0, 10, paired=False).update([0.25]), "scores: expected one of 0, 0.5, 1, got 0.25"),
        (lambda: Sprt(0, 10).update_games([played("a", "b", "1")], "c"), "expected games of 'c' against another player"),
        (lambda: Sprt(0, 10).update_games([played("a", "a", "1")], "a"), "expected games of 'a' against another player"),
    ],
)
def test_sequential_test_refuses_other_numbers(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


def test_refused_scores_change_nothing() -> None:
    test = Sprt(0, 10)
    before = test.update([0.5])
    with pytest.raises(ConfigError):
        test.update([1.0, 2.0])
    assert test.state == before
