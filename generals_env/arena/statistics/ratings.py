"""Rates players by their games: Elo points relative to an anchor whose rating is given (``bradley_terry`` has the models).

Ratings are defined only up to a constant, so one player has a fixed rating and no interval: ``expander`` with 1000, unless
another anchor is named. The interval of another player is that of its difference to the anchor.

Two weak priors make every fit finite. One virtual game between equals, half won by each seat, keeps the seat term finite. And
where all games of a pairing were won by players of one group, and no chain of results leads back, one virtual game, half won by
each of the two, is added to the pairing: a player that won all its games is then rated by their number. The rating of such a
player has no limit on one side, so this end of its interval is infinite, and a note names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.bradley_terry import Fit, SeatCounts, fit_games, probabilities
from generals_env.arena.statistics.connected import Bounds, bounds_of, check_connected, scored_graph
from generals_env.arena.statistics.game_table import TIED, WON_FIRST, GameTable, as_table
from generals_env.arena.statistics.intervals import ELO, Estimate, check_level
from generals_env.arguments import is_number, shown
from generals_env.errors import ConfigError

__all__ = ["ANCHOR", "ANCHOR_ELO", "METHODS", "Rating", "Ratings", "in_elo", "rate"]

#: The player that has a fixed rating where none is named, and its rating.
ANCHOR, ANCHOR_ELO = "expander", 1000.0

#: How draws are taken: as half points, or as a third result.
METHODS = ("elo", "davidson")


@dataclass(frozen=True)
class Rating:
    """The rating of one player.

    Attributes:
        player: Name of the player.
        elo: Rating with its interval; the anchor's has no width, an end without limit is infinite.
        games: Games played.
        wins: Games won.
        draws: Games drawn or cut off.
        losses: Games lost.
    """

    player: str
    elo: Estimate
    games: int
    wins: int
    draws: int
    losses: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        counts = {"games": self.games, "wins": self.wins, "draws": self.draws, "losses": self.losses}
        return {"player": self.player, "elo": self.elo.to_dict()} | counts


@dataclass(frozen=True)
class Ratings:
    """Ratings of players that are connected by games.

    Attributes:
        board: Name of the kind of games.
        anchor: Player with the fixed rating.
        anchor_elo: Its rating.
        players: Ratings, the highest first.
        method: ``"elo"`` or ``"davidson"``.
        seat: Elo points by which the first seat is stronger.
        draw_rate: Share of the games that were drawn or cut off.
        notes: What limits the ratings, in words.
        level: Confidence level of the intervals.
    """

    board: str
    anchor: str
    anchor_elo: float
    players: tuple[Rating, ...]
    method: str
    seat: Estimate
    draw_rate: float
    notes: tuple[str, ...]
    level: float
    table: GameTable = field(repr=False)
    fitted: Fit = field(repr=False)

    def __getitem__(self, player: str) -> Rating:
        """Return the rating of a player; raise ``ConfigError`` if there is none."""
        self.table.number_of("player", player)
        return next(rating for rating in self.players if rating.player == player)

    def difference(self, player: str, opponent: str) -> Estimate:
        """Return the rating of ``player`` minus that of ``opponent``, with its interval.

        Raises:
            ConfigError: If one of them is not rated.
        """
        one, two = self.table.number_of("player", player), self.table.number_of("opponent", opponent)
        covariance = self.fitted.covariance
        variance = covariance[one, one] + covariance[two, two] - 2 * covariance[one, two]
        bounds = bounds_of(self.table, two)
        value = float(self.fitted.strengths[one] - self.fitted.strengths[two])
        return in_elo(value, float(variance), self.level, bool(bounds.below[one]), bool(bounds.above[one]))

    def expected_score(self, player: str, opponent: str) -> float:
        """Return the points a game that the ratings predict for ``player``, with half of the games from each seat."""
        one, two = self.table.number_of("player", player), self.table.number_of("opponent", opponent)
        ahead = float(self.fitted.strengths[one] - self.fitted.strengths[two])
        shares = probabilities(np.array([ahead + self.fitted.seat, ahead - self.fitted.seat]), self.fitted.log_draw)
        return float((shares[:, 2] + shares[:, 1] / 2).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        names = ("board", "anchor", "anchor_elo", "method", "draw_rate", "level")
        parts = {
            "players": [rating.to_dict() for rating in self.players],
            "seat": self.seat.to_dict(),
            "notes": list(self.notes),
        }
        return {name: getattr(self, name) for name in names} | parts


def rate(
    games: GameTable | Iterable[PlayedGame],
    *,
    anchor: str | None = None,
    anchor_elo: float = ANCHOR_ELO,
    method: str = "elo",
    level: float = 0.95,
) -> Ratings:
    """Rate players by games of one kind.

    Args:
        games: Games, or a table of them (``GameTable.from_counts`` makes one of counts).
        anchor: Player whose rating is given; default: ``expander``, or without it the player with the highest number of games.
        anchor_elo: Rating of the anchor.
        method: ``"elo"`` takes a draw for half a point; ``"davidson"`` takes it for a sign of equal strength.
        level: Confidence level.

    Raises:
        ConfigError: If there are no games, games of more than one kind, players that no games connect, or no such anchor.
    """
    check_level(level)
    if not is_number(anchor_elo) or not abs(anchor_elo) <= 1e6:
        raise ConfigError(f"anchor_elo: expected a number from -1000000 to 1000000, got {shown(anchor_elo)}")
    if method not in METHODS:
        raise ConfigError(f"method: expected one of {', '.join(METHODS)}, got {shown(method)}")
    table = as_table(games)
    check_connected(table)
    played = games_of(table)
    if anchor is None:
        anchor = ANCHOR if ANCHOR in table.index else table.players[int(played.sum(axis=1).argmax())]
    reference = table.number_of("anchor", anchor)
    virtual = virtual_games(table, reference)
    size = len(table.players)
    fitted = fit_games(table, np.arange(size), np.zeros(size), reference, virtual, draws_are_results=method == "davidson")
    bounds = bounds_of(table, reference)
    ratings = []
    for number, name in enumerate(table.players):
        variance = float(fitted.covariance[number, number])
        limits = bool(bounds.below[number]), bool(bounds.above[number])
        difference = in_elo(float(fitted.strengths[number]), variance, level, *limits)
        elo = Estimate(*(float(anchor_elo) + value for value in difference))
        losses, draws, wins = map(int, played[number])
        ratings.append(Rating(name, elo, losses + draws + wins, wins, draws, losses))
    return Ratings(
        board=table.board,
        anchor=anchor,
        anchor_elo=float(anchor_elo),
        players=tuple(sorted(ratings, key=lambda rating: (-rating.elo.value, rating.player))),
        method=method,
        seat=in_elo(fitted.seat, float(fitted.covariance[-1, -1]), level, below=True, above=True),
        draw_rate=float(table.counts[table.results == TIED].sum() / table.counts.sum()),
        notes=tuple(notes_of(table, anchor, bounds, one_sided=len(virtual.counts) > 1)),
        level=level,
        table=table,
        fitted=fitted,
    )


def in_elo(value: float, variance: float, level: float, below: bool, above: bool) -> Estimate:
    """Return a strength with its interval in Elo points; an end is infinite if the games set no limit there."""
    from scipy.special import ndtri

    width = float(ndtri(0.5 + level / 2)) * float(np.sqrt(max(variance, 0.0)))
    low = (value - width) * ELO if below else -np.inf
    return Estimate(value * ELO, low, (value + width) * ELO if above else np.inf)


def games_of(table: GameTable) -> npt.NDArray[np.int64]:
    """Return (P, 3) losses, draws and wins of each player; games of a player against itself count for both seats."""
    size = len(table.players)
    played = np.zeros((size, 3), np.int64)
    np.add.at(played, (table.first, table.results), table.counts)
    np.add.at(played, (table.second, WON_FIRST - table.results), table.counts)
    return played


def virtual_games(table: GameTable, reference: int) -> SeatCounts:
    """Return the virtual games: one between equals, and one for each pairing whose results lead in one direction only."""
    from scipy.sparse.csgraph import connected_components

    size = len(table.players)
    first, second = table.first.astype(np.int64), table.second.astype(np.int64)
    _, groups = connected_components(scored_graph(table), directed=True, connection="strong")
    apart = groups[first] != groups[second]
    pairings = np.unique(np.minimum(first, second)[apart] * size + np.maximum(first, second)[apart])
    one, two = pairings // size, pairings % size
    quarters = np.tile([0.25, 0.0, 0.25], (2 * len(pairings), 1))
    return SeatCounts(
        first=np.concatenate([[reference], one, two]),
        second=np.concatenate([[reference], two, one]),
        ahead=np.zeros(1 + 2 * len(pairings)),
        counts=np.concatenate([[[0.5, 0.0, 0.5]], quarters]),
    )


def notes_of(table: GameTable, anchor: str, bounds: Bounds, one_sided: bool) -> Iterable[str]:
    """Yield what limits the ratings."""
    for limited, side, word in ((bounds.below, "lower", "scored against"), (bounds.above, "upper", "lost a point to")):
        open_ones = [table.players[number] for number in np.flatnonzero(~limited)]
        if open_ones:
            named = ", ".join(open_ones[:8]) + (f" and {len(open_ones) - 8} others" if len(open_ones) > 8 else "")
            yield f"no {side} limit relative to {anchor}: {named} never {word} players from whom results lead to {anchor}"
    if one_sided:
        yield "one virtual game, half won by each player, was added to each pairing whose results lead in one direction only"
    kinds = np.unique(table.first.astype(np.int64) * len(table.players) + table.second)
    swapped = kinds % len(table.players) * len(table.players) + kinds // len(table.players)
    if not np.isin(swapped, kinds).all():
        yield "some pairings were played from one seat only: play both, so that no seat favours a player"
