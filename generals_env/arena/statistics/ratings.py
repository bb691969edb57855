"""Rates players by their games: Elo points of the Davidson model, relative to an anchor whose rating is given.

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
from generals_env.arena.statistics.connected import bounds_of, check_connected, scored_graph
from generals_env.arena.statistics.davidson import Fit, SeatCounts, fit, probabilities
from generals_env.arena.statistics.game_table import WON_FIRST, GameTable, as_table
from generals_env.arena.statistics.intervals import ELO, Estimate, check_level
from generals_env.arguments import is_number, shown
from generals_env.errors import ConfigError

__all__ = ["ANCHOR", "ANCHOR_ELO", "Rating", "Ratings", "in_elo", "map_factor", "rate"]

#: The player that has a fixed rating where none is named, and its rating.
ANCHOR, ANCHOR_ELO = "expander", 1000.0


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
        seat: Elo points by which the first seat is stronger.
        draw_rate: Share of draws in games of equal players with equal seats.
        map_factor: Factor of the variance by which the games of one map depend on each other; at least 1.
        notes: What limits the ratings, in words.
        level: Confidence level of the intervals.
    """

    board: str
    anchor: str
    anchor_elo: float
    players: tuple[Rating, ...]
    seat: Estimate
    draw_rate: float
    map_factor: float
    notes: tuple[str, ...]
    level: float
    table: GameTable = field(repr=False)
    model: Fit = field(repr=False)

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
        covariance = self.model.covariance
        variance = covariance[one, one] + covariance[two, two] - 2 * covariance[one, two]
        bounds = bounds_of(self.table, two)
        value = float(self.model.strengths[one] - self.model.strengths[two])
        return in_elo(value, float(variance) * self.map_factor, self.level, bool(bounds.below[one]), bool(bounds.above[one]))

    def expected_score(self, player: str, opponent: str) -> float:
        """Return the points a game that the ratings predict for ``player``, with half of the games from each seat."""
        one, two = self.table.number_of("player", player), self.table.number_of("opponent", opponent)
        ahead = float(self.model.strengths[one] - self.model.strengths[two])
        shares = probabilities(np.array([ahead + self.model.seat, ahead - self.model.seat]), self.model.log_draw)
        return float((shares[:, 2] + shares[:, 1] / 2).mean())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        names = ("board", "anchor", "anchor_elo", "draw_rate", "map_factor", "level")
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
    level: float = 0.95,
) -> Ratings:
    """Rate players by games of one kind.

    Args:
        games: Games, or a table of them (``GameTable.from_counts`` makes one of counts).
        anchor: Player whose rating is given; default: ``expander``, or without it the player with the highest number of games.
        anchor_elo: Rating of the anchor.
        level: Confidence level.

    Raises:
        ConfigError: If there are no games, games of more than one kind, players that no games connect, or no such anchor.
    """
    check_level(level)
    if not is_number(anchor_elo) or not abs(anchor_elo) <= 1e6:
        raise ConfigError(f"anchor_elo: expected a number from -1000000 to 1000000, got {shown(anchor_elo)}")
    table = as_table(games)
    check_connected(table)
    played = games_of(table)
    if anchor is None:
        anchor = ANCHOR if ANCHOR in table.index else table.players[int(played.sum(axis=1).argmax())]
    reference = table.number_of("anchor", anchor)
    results, one_sided = with_virtual_games(table, reference)
    model = fit(results, reference)
    ahead = model.strengths[table.first] - model.strengths[table.second] + model.seat
    factor = map_factor(table, probabilities(ahead, model.log_draw))
    bounds = bounds_of(table, reference)
    ratings = []
    for number, name in enumerate(table.players):
        variance = float(model.covariance[number, number]) * factor
        difference = in_elo(
            float(model.strengths[number]), variance, level, bool(bounds.below[number]), bool(bounds.above[number])
        )
        elo = Estimate(*(float(anchor_elo) + value for value in difference))
        losses, draws, wins = map(int, played[number])
        ratings.append(Rating(name, elo, losses + draws + wins, wins, draws, losses))
    equals = probabilities(np.zeros(1), model.log_draw)[0]
    return Ratings(
        board=table.board,
        anchor=anchor,
        anchor_elo=float(anchor_elo),
        players=tuple(sorted(ratings, key=lambda rating: (-rating.elo.value, rating.player))),
        seat=in_elo(model.seat, float(model.covariance[-1, -1]) * factor, level, below=True, above=True),
        draw_rate=float(equals[1]),
        map_factor=factor,
        notes=tuple(notes_of(table, anchor, bounds.below, bounds.above, one_sided)),
        level=level,
        table=table,
        model=model,
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


def with_virtual_games(table: GameTable, reference: int) -> tuple[SeatCounts, bool]:
    """Return the results by seats with the virtual games, and whether some pairing needed one."""
    from scipy.sparse.csgraph import connected_components

    size = len(table.players)
    places = table.first.astype(np.int64) * size + table.second
    kinds, rows = np.unique(places, return_inverse=True)
    counts = np.zeros((len(kinds), 3))
    np.add.at(counts, (rows, table.results), table.counts)
    first, second = kinds // size, kinds % size
    _, groups = connected_components(scored_graph(table), directed=True, connection="strong")
    apart = groups[first] != groups[second]
    pairings = np.unique(np.minimum(first, second)[apart] * size + np.maximum(first, second)[apart])
    one, two = pairings // size, pairings % size
    quarters = np.tile([0.25, 0.0, 0.25], (2 * len(pairings), 1))
    every = SeatCounts(
        size=size,
        first=np.concatenate([first, one, two, [reference]]).astype(np.int32),
        second=np.concatenate([second, two, one, [reference]]).astype(np.int32),
        counts=np.concatenate([counts, quarters, [[0.5, 0.0, 0.5]]]),
    )
    return every, bool(len(pairings))


def map_factor(table: GameTable, expected: npt.NDArray[np.float64]) -> float:
    """Return the factor of the variance by which games of one map and pairing depend on each other.

    It is the ratio of the variance of the sums of the games of each map, less what the model expects, to that of independent
    games. Less than 1, as if maps favour a seat, is taken as 1: intervals are then a little too wide.

    Args:
        table: The games.
        expected: (N, 3) probabilities of loss, draw and win of the first seat.
    """
    if not table.known_maps:
        return 1.0
    residuals = table.results / 2 - expected[:, 2] - expected[:, 1] / 2
    residuals[table.first > table.second] *= -1  # points of the same player in all games of a pairing
    _, places = np.unique(table.maps, return_inverse=True)
    alone = float((residuals**2).sum())
    return max(1.0, float((np.bincount(places, residuals) ** 2).sum()) / alone) if alone > 0 else 1.0


def notes_of(
    table: GameTable, anchor: str, below: npt.NDArray[np.bool_], above: npt.NDArray[np.bool_], one_sided: bool
) -> Iterable[str]:
    """Yield what limits the ratings."""
    for limited, side, word in ((below, "lower", "scored against"), (above, "upper", "lost a point to")):
        open_ones = [table.players[number] for number in np.flatnonzero(~limited)]
        if open_ones:
            named = ", ".join(open_ones[:8]) + (f" and {len(open_ones) - 8} others" if len(open_ones) > 8 else "")
            yield f"no {side} limit relative to {anchor}: {named} never {word} players from whom results lead to {anchor}"
    if one_sided:
        yield "one virtual game, half won by each player, was added to each pairing whose results lead in one direction only"
    seats = {(int(one), int(two)) for one, two in zip(table.first, table.second, strict=True)}
    if any(one != two and (two, one) not in seats for one, two in seats):
        yield "some pairings were played from one seat only: play both, so that no seat favours a player"
