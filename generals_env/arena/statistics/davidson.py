"""Fits the Davidson model: Bradley-Terry with draws, here with a term for the first seat.

With strengths a and b of the players of the first and the second seat, in units of the natural logarithm of the odds, the seat
term s, and the draw parameter v, let d = a - b + s. Then

    P(first wins) = exp(d / 2) / n,   P(draw) = v / n,   P(second wins) = exp(-d / 2) / n,   n = exp(d/2) + v + exp(-d/2).

(R. R. Davidson, 1970, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments"; the seat
term is that of R. R. Davidson and R. J. Beaver, 1977.) The likelihood depends on the results only through each player's points,
with half a point for a draw, the points of the first seat, and the number of draws: expected and observed points of every
player agree at the maximum, as with Elo ratings. It is concave in a, b, s and log(v), so any start leads to the maximum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Fit", "SeatCounts", "fit", "probabilities"]

TOLERANCE = 1e-6  # of the gradient, in points per game, before the last steps of Newton's method


@dataclass(frozen=True)
class SeatCounts:
    """Results by seats: a row for each pair of players and order of seats; the counts may be parts of a game.

    Attributes:
        size: Number of players, P.
        first: (R,) integers, player of seat 0.
        second: (R,) integers, player of seat 1.
        counts: (R, 3) float64, losses, draws and wins of the first seat.
        ahead: (R,) float64, known advantage of the first seat besides strengths and seat term; default: zero.
    """

    size: int
    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    counts: npt.NDArray[np.float64]
    ahead: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        strengths: (P,) float64, zero for the reference player.
        seat: Seat term.
        log_draw: Logarithm of the draw parameter; None if there were no draws.
        covariance: (P + 1, P + 1) float64, of strengths and seat term; zero for the reference player.
        draw_variance: Variance of ``log_draw``.
    """

    strengths: npt.NDArray[np.float64]
    seat: float
    log_draw: float | None
    covariance: npt.NDArray[np.float64]
    draw_variance: float


def probabilities(difference: npt.NDArray[np.float64], log_draw: float | None) -> npt.NDArray[np.float64]:
    """Return (R, 3) probabilities of loss, draw and win of the first seat at differences (R,), seat term included."""
    ties = np.full_like(difference, -np.inf if log_draw is None else log_draw)
    logits = np.stack([-difference / 2, ties, difference / 2], axis=1)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = odds / odds.sum(axis=1, keepdims=True)
    return shares


class Likelihood:
    """The negative logarithm of the likelihood per game, with gradient and Hessian.

    The parameters are the strengths of all players but the reference, the seat term, and the logarithm of the draw parameter if
    there are draws.
    """

    def __init__(self, results: SeatCounts, reference: int) -> None:
        self.results = results
        self.reference = reference
        self.games = float(results.counts.sum())
        self.has_draws = bool(results.counts[:, 1].sum() > 0)
        self.size = results.size + self.has_draws  # one strength is fixed, and the seat term takes its place

    def split(self, parameters: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float, float | None]:
        """Return strengths (P,), seat term and logarithm of the draw parameter."""
        players = self.results.size
        strengths = np.insert(parameters[: players - 1], self.reference, 0.0)
        return strengths, float(parameters[players - 1]), float(parameters[players]) if self.has_draws else None

    def chances(self, parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return (R, 3) probabilities."""
        strengths, seat, log_draw = self.split(parameters)
        difference = strengths[self.results.first] - strengths[self.results.second] + seat
        return probabilities(difference if self.results.ahead is None else difference + self.results.ahead, log_draw)

    def value(self, parameters: npt.NDArray[np.float64]) -> float:
        """Return the negative logarithm of the likelihood per game."""
        chances, counts = self.chances(parameters), self.results.counts
        return -float((counts[counts > 0] * np.log(np.maximum(chances[counts > 0], 1e-300))).sum()) / self.games

    def gradient(self, parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the gradient (size,)."""
        games = self.results.counts.sum(axis=1)
        surplus = self.results.counts - games[:, None] * self.chances(parameters)
        points = (surplus[:, 2] - surplus[:, 0]) / 2
        by_player = np.bincount(self.results.first, points, self.results.size)
        by_player -= np.bincount(self.results.second, points, self.results.size)
        by_term = [points.sum(), surplus[:, 1].sum()][: 1 + self.has_draws]
        return -np.concatenate([np.delete(by_player, self.reference), by_term]) / self.games

    def hessian(self, parameters: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the Hessian (size, size): observed and expected information per game are equal."""
        chances, games, players = self.chances(parameters), self.results.counts.sum(axis=1), self.results.size
        first, second = self.results.first, self.results.second
        mean = (chances[:, 2] - chances[:, 0]) / 2
        spread = games * ((chances[:, 2] + chances[:, 0]) / 4 - mean**2)
        whole = np.zeros((players + 2, players + 2))
        for sign, one, other in ((1, first, first), (1, second, second), (-1, first, second), (-1, second, first)):
            whole[:players, :players] += sign * by_places(one, other, spread, players)
        for column, weights in ((players, spread), (players + 1, -games * mean * chances[:, 1])):
            cross = np.bincount(first, weights, players) - np.bincount(second, weights, players)
            whole[:players, column] = whole[column, :players] = cross
        whole[players, players] = spread.sum()
        whole[players, players + 1] = whole[players + 1, players] = -(games * mean * chances[:, 1]).sum()
        whole[players + 1, players + 1] = (games * chances[:, 1] * (1 - chances[:, 1])).sum()
        kept = np.delete(np.arange(players + 1 + self.has_draws), self.reference)
        return whole[np.ix_(kept, kept)] / self.games


def by_places(
    rows: npt.NDArray[np.int32], columns: npt.NDArray[np.int32], weights: npt.NDArray[np.float64], size: int
) -> npt.NDArray[np.float64]:
    """Return the matrix (size, size) of sums of weights (R,) at places."""
    places = rows.astype(np.int64) * size + columns
    sums = np.bincount(places, weights, size * size).astype(np.float64)
    return sums.reshape(size, size)


def fit(results: SeatCounts, reference: int) -> Fit:
    """Return the model of maximum likelihood.

    Args:
        results: Results whose maximum exists: ``ratings`` adds virtual games where it would not.
        reference: The player whose strength is zero.
    """
    from scipy.optimize import minimize

    likelihood = Likelihood(results, reference)
    start = np.zeros(likelihood.size)
    found = minimize(
        likelihood.value,
        start,
        method="trust-exact",
        jac=likelihood.gradient,
        hess=likelihood.hessian,
        options={"gtol": TOLERANCE, "initial_trust_radius": 4.0, "max_trust_radius": 100.0},
    ).x
    for _ in range(2):  # each doubles the number of right digits, where the value itself no longer changes
        found = found - np.linalg.solve(likelihood.hessian(found), likelihood.gradient(found))
    inverse = np.linalg.inv(likelihood.hessian(found) * likelihood.games)
    strengths, seat, log_draw = likelihood.split(found)
    covariance = np.zeros((results.size + 1, results.size + 1))
    kept = np.delete(np.arange(results.size + 1), reference)
    covariance[np.ix_(kept, kept)] = inverse[: results.size, : results.size]
    return Fit(strengths, seat, log_draw, covariance, float(inverse[-1, -1]) if likelihood.has_draws else 0.0)
