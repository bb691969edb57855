"""Fits strengths of players to results: the Bradley-Terry model with a term for the first seat, and two ways to take draws.

With strengths a and b of the players of the first and the second seat, in units of the natural logarithm of the odds, and the
seat term s, let d = a - b + s.

Draws as half points, as with Elo ratings: the first seat's expected points are 1 / (1 + exp(-d)), whatever share of them comes
from draws. So a strength difference means the same for players that draw often and for players that never do.

Draws as a third result, the model of Davidson, with the draw parameter v:

    P(first wins) = exp(d / 2) / n,   P(draw) = v / n,   P(second wins) = exp(-d / 2) / n,   n = exp(d/2) + v + exp(-d/2).

(R. R. Davidson, 1970, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments"; the seat
term is that of R. R. Davidson and R. J. Beaver, 1977.) It takes draws for a sign of equal strength. v = 0 gives the first one.

Both are fitted by maximum likelihood, which is concave in a, b, s and log(v); a draw counts as half a win and half a loss in
the first model. Expected and observed points of every player agree at the maximum.

The covariance is the "sandwich" H^-1 M H^-1 with the information H and the sum M of the squared gradients of each map (as
``cov_type="cluster"`` in statsmodels). It stays right where the model's variance is not: half points vary less than wins and
losses, and the two games of a map depend on each other. As M is too small for few maps, H is added with the share of parameters
to maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generals_env.arena.statistics.game_table import LOST_FIRST, TIED, WON_FIRST, GameTable

__all__ = ["Fit", "SeatCounts", "fit_games", "probabilities"]

TOLERANCE = 1e-6  # of the gradient, in points per game, before the last steps of Newton's method
STEPS = 60  # of these at most
EXACT = 1e-9  # length of the last step

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SeatCounts:
    """Results by seats: a row for each pair of players and order of seats; the counts may be parts of a game.

    Attributes:
        first: (R,) integers, player of seat 0.
        second: (R,) integers, player of seat 1.
        ahead: (R,) float64, known advantage of the first seat besides strengths and seat term.
        counts: (R, 3) float64, losses, draws and wins of the first seat.
    """

    first: Integers
    second: Integers
    ahead: Floats
    counts: Floats


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes:
        strengths: (P,) float64, zero for the reference player.
        seat: Seat term.
        log_draw: Logarithm of the draw parameter; None if draws are half points, or there were none.
        covariance: (P + 1, P + 1) float64, of strengths and seat term; zero for the reference player.
    """

    strengths: Floats
    seat: float
    log_draw: float | None
    covariance: Floats


def probabilities(difference: Floats, log_draw: float | None) -> Floats:
    """Return (R, 3) probabilities of loss, draw and win of the first seat at differences (R,), seat term included."""
    ties = np.full_like(difference, -np.inf if log_draw is None else log_draw)
    logits = np.stack([-difference / 2, ties, difference / 2], axis=1)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = odds / odds.sum(axis=1, keepdims=True)
    return shares


class Likelihood:
    """The negative logarithm of the likelihood per game, with gradient and Hessian.

    The parameters are the strengths of all players but the reference, the seat term, and the logarithm of the draw parameter if
    there are draws.
    """

    def __init__(self, results: SeatCounts, size: int, reference: int) -> None:
        self.results = results
        self.players = size
        self.reference = reference
        self.games = float(results.counts.sum())
        self.has_draws = bool(results.counts[:, TIED].sum() > 0)
        self.kept = np.delete(np.arange(size + 1 + self.has_draws), reference)

    def split(self, parameters: Floats) -> tuple[Floats, float, float | None]:
        """Return strengths (P,), seat term and logarithm of the draw parameter."""
        strengths = np.zeros(self.players)
        strengths[self.kept[: self.players - 1]] = parameters[: self.players - 1]
        return strengths, float(parameters[self.players - 1]), float(parameters[self.players]) if self.has_draws else None

    def chances(self, parameters: Floats) -> Floats:
        """Return (R, 3) probabilities."""
        strengths, seat, log_draw = self.split(parameters)
        ahead = self.results.ahead + seat
        return probabilities(strengths[self.results.first] - strengths[self.results.second] + ahead, log_draw)

    def value(self, parameters: Floats) -> float:
        """Return the negative logarithm of the likelihood per game."""
        chances, counts = self.chances(parameters), self.results.counts
        return -float((counts[counts > 0] * np.log(np.maximum(chances[counts > 0], 1e-300))).sum()) / self.games

    def gradient(self, parameters: Floats) -> Floats:
        """Return the gradient."""
        games = self.results.counts.sum(axis=1)
        surplus = self.results.counts - games[:, None] * self.chances(parameters)
        points = (surplus[:, WON_FIRST] - surplus[:, LOST_FIRST]) / 2
        by_player = np.bincount(self.results.first, points, self.players)
        by_player = by_player - np.bincount(self.results.second, points, self.players)
        whole = np.concatenate([by_player, [points.sum(), surplus[:, TIED].sum()]])
        gradient: Floats = -whole[self.kept] / self.games
        return gradient

    def hessian(self, parameters: Floats) -> Floats:
        """Return the Hessian: observed and expected information per game are equal."""
        chances, games = self.chances(parameters), self.results.counts.sum(axis=1)
        mean = (chances[:, WON_FIRST] - chances[:, LOST_FIRST]) / 2
        spread = games * ((chances[:, WON_FIRST] + chances[:, LOST_FIRST]) / 4 - mean**2)
        cross = -games * mean * chances[:, TIED]
        ties = games * chances[:, TIED] * (1 - chances[:, TIED])
        whole = quadratic((self.results.first, self.results.second), self.players, (spread,) * 3, (cross, cross), ties)
        return whole[np.ix_(self.kept, self.kept)] / self.games


def quadratic(
    pair: tuple[Integers, Integers],
    size: int,
    points: tuple[Floats, Floats, Floats],
    crosses: tuple[Floats, Floats],
    ties: Floats,
) -> Floats:
    """Return the sum of the squares (outer products) of vectors of players, seat term and draw parameter.

    A row's vector is ``(e[one] - e[two]) * u``, ``w`` for the seat term, and ``q`` for the draw parameter.

    Args:
        pair: (R,) the players one and two.
        size: Number of players, P.
        points: (R,) sums of u u, u w and w w.
        crosses: (R,) sums of u q and w q.
        ties: (R,) sums of q q.

    Returns:
        (P + 2, P + 2) float64.
    """
    one, two = (players.astype(np.int64) for players in pair)
    whole = np.zeros((size + 2, size + 2))
    for sign, row, column in ((1, one, one), (1, two, two), (-1, one, two), (-1, two, one)):
        whole[:size, :size] += sign * np.bincount(row * size + column, points[0], size * size).reshape(size, size)
    for place, weights in ((size, points[1]), (size + 1, crosses[0])):
        cross = np.bincount(one, weights, size) - np.bincount(two, weights, size)
        whole[:size, place] = whole[place, :size] = cross
    whole[size, size] = points[2].sum()
    whole[size, size + 1] = whole[size + 1, size] = crosses[1].sum()
    whole[size + 1, size + 1] = ties.sum()
    return whole


def fit_games(
    table: GameTable, roles: Integers, known: Floats, reference: int, virtual: SeatCounts, *, draws_are_results: bool = False
) -> Fit:
    """Return the model of maximum likelihood of games.

    Args:
        table: The games.
        roles: (players of the table,) number of the strength of each player: several players of known strength may share one.
        known: (players of the table,) what is added to it.
        reference: Number of the strength that is zero.
        virtual: Games that are added, by numbers of strengths, such that the maximum exists.
        draws_are_results: Whether draws are a third result, as by Davidson, and not half points.
    """
    from scipy.optimize import minimize

    size = int(roles.max()) + 1
    results = joined(table, roles, known, virtual, draws_are_results)
    likelihood = Likelihood(results, size, reference)
    found = minimize(
        likelihood.value,
        np.zeros(len(likelihood.kept)),
        method="trust-exact",
        jac=likelihood.gradient,
        hess=likelihood.hessian,
        options={"gtol": TOLERANCE, "initial_trust_radius": 4.0, "max_trust_radius": 100.0},
    ).x
    found = polished(likelihood, found)
    strengths, seat, log_draw = likelihood.split(found)
    information = likelihood.hessian(found) * likelihood.games
    squares, maps = squared_gradients(table, roles, known, Fit(strengths, seat, log_draw, information))
    squares = (squares + squared_parts(virtual, size, strengths, seat, log_draw))[np.ix_(likelihood.kept, likelihood.kept)]
    inverse = np.linalg.inv(information)
    whole = inverse @ (squares + information * (len(found) / maps)) @ inverse
    covariance = np.zeros((size + 1, size + 1))
    kept = np.delete(np.arange(size + 1), reference)
    covariance[np.ix_(kept, kept)] = whole[:size, :size]
    return Fit(strengths, seat, log_draw, covariance)


def polished(likelihood: Likelihood, found: Floats) -> Floats:
    """Return the maximum by Newton's method from near it, where the value no longer changes in float64.

    Steps are at most 1: a player that won all but a few of a million games may still be some units away.
    """
    for _ in range(STEPS):
        step = np.linalg.solve(likelihood.hessian(found), likelihood.gradient(found))
        found = found - step / max(1.0, float(abs(step).max()))
        if abs(step).max() < EXACT:
            break
    return found


def joined(table: GameTable, roles: Integers, known: Floats, virtual: SeatCounts, draws_are_results: bool) -> SeatCounts:
    """Return the results of games by seats, the virtual ones included."""
    players = len(table.players)
    kinds, rows = np.unique(table.first.astype(np.int64) * players + table.second, return_inverse=True)
    counts = np.zeros((len(kinds), 3))
    np.add.at(counts, (rows, table.results), table.counts)
    if not draws_are_results:
        counts[:, [LOST_FIRST, WON_FIRST]] += counts[:, [TIED]] / 2
        counts[:, TIED] = 0
    first, second = kinds // players, kinds % players
    return SeatCounts(
        first=np.concatenate([roles[first], virtual.first]),
        second=np.concatenate([roles[second], virtual.second]),
        ahead=np.concatenate([known[first] - known[second], virtual.ahead]),
        counts=np.concatenate([counts, virtual.counts]),
    )


def squared_gradients(table: GameTable, roles: Integers, known: Floats, model: Fit) -> tuple[Floats, int]:
    """Return the sum of the squares of the gradients of each map, (P + 2, P + 2), and the number of maps."""
    low, high = np.minimum(table.first, table.second), np.maximum(table.first, table.second)
    difference = (model.strengths[roles] + known)[table.first] - (model.strengths[roles] + known)[table.second] + model.seat
    chances = probabilities(difference, model.log_draw)
    seat = table.results / 2 - chances[:, WON_FIRST] - chances[:, TIED] / 2
    points = np.where(table.first <= table.second, seat, -seat)  # of the same player in all games of a map
    ties = (table.results == TIED) - chances[:, TIED]
    if not table.known_maps:
        games = int(table.counts.sum())
        weighted = [table.counts * one * two for one, two in squares_of(points, seat, ties)]
        pair = (roles[low], roles[high])
    else:
        places, firsts, rows = np.unique(table.maps, return_index=True, return_inverse=True)
        games = len(places)
        sums = [np.bincount(rows, table.counts * values).astype(np.float64) for values in (points, seat, ties)]
        weighted = [one * two for one, two in squares_of(*sums)]
        pair = (roles[low[firsts]], roles[high[firsts]])
    uu, uw, ww, uq, wq, qq = weighted
    return quadratic(pair, len(model.strengths), (uu, uw, ww), (uq, wq), qq), games


def squared_parts(results: SeatCounts, size: int, strengths: Floats, seat: float, log_draw: float | None) -> Floats:
    """Return the sum of the squares of the gradients of parts of games, as if each part were a result of its own."""
    chances = probabilities(strengths[results.first] - strengths[results.second] + results.ahead + seat, log_draw)
    expected = chances[:, WON_FIRST] + chances[:, TIED] / 2
    whole = np.zeros((size + 2, size + 2))
    for kind in (LOST_FIRST, TIED, WON_FIRST):
        points, ties = kind / 2 - expected, float(kind == TIED) - chances[:, TIED]
        uu, uw, ww, uq, wq, qq = (results.counts[:, kind] * one * two for one, two in squares_of(points, points, ties))
        whole += quadratic((results.first, results.second), size, (uu, uw, ww), (uq, wq), qq)
    return whole


def squares_of(u: Floats, w: Floats, q: Floats) -> list[tuple[Floats, Floats]]:
    """Return the pairs of u u, u w, w w, u q, w q and q q."""
    return [(u, u), (u, w), (w, w), (u, q), (w, q), (q, q)]
