"""Computes rates of wins, draws and losses, scores and Elo differences, each with its confidence interval.

A draw or a game that was cut off is half a point in scores, and no win in rates.

The two games of one map, with seats swapped, are not independent: who wins the first seat of an unfair map loses the second.
So the variance of a rate or score is computed from the sums of the games of each map (for complete pairs, the pentanomial
variance of chess engine tests). The interval is Wilson's (statsmodels ``proportion_confint``) of the effective number of games:
the number of independent win-or-loss games with the same variance, as is usual for surveys with clusters
(Korn and Graubard, 1998). Unlike the normal interval, it stays between 0 and 1 and is right near both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.game_table import LOST_FIRST, TIED, WON_FIRST, GameTable, as_table
from generals_env.arguments import is_number, shown
from generals_env.errors import ConfigError

__all__ = [
    "ELO",
    "Comparison",
    "Estimate",
    "check_level",
    "compare",
    "elo_of_score",
    "mean_of_maps",
    "mean_of_opponents",
    "rate_interval",
    "score_of_elo",
]

#: Points of Elo of one unit of the natural logarithm of the odds.
ELO = 400 / math.log(10)


class Estimate(NamedTuple):
    """A value with its confidence interval; an end of the interval is infinite where the games set no limit."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float | None]:
        """Return value, low and high for JSON: None for an infinite number."""
        return {name: value if math.isfinite(value) else None for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Comparison:
    """The games of two players against each other, counted for ``player``.

    Attributes:
        player: Name of the player.
        opponent: Name of the opponent.
        games: Games played.
        wins: Games won.
        draws: Games drawn, those that were cut off included.
        losses: Games lost.
        cut_offs: Games that reached the turn limit.
        pairs: Maps with exactly two games, one from each seat.
        win_rate: Share of wins.
        draw_rate: Share of draws.
        loss_rate: Share of losses.
        score: Points a game: 1 for a win, 0.5 for a draw.
        elo: Elo difference that the score means, as if these were the only games: positive if ``player`` is stronger.
        seats: Wins, draws and losses from seat 0, then from seat 1.
        level: Confidence level of the intervals.
    """

    player: str
    opponent: str
    games: int
    wins: int
    draws: int
    losses: int
    cut_offs: int
    pairs: int
    win_rate: Estimate
    draw_rate: Estimate
    loss_rate: Estimate
    score: Estimate
    elo: Estimate
    seats: tuple[tuple[int, int, int], tuple[int, int, int]]
    level: float = 0.95

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        fields = {name: value for name, value in asdict(self).items() if name != "seats"}
        estimates = {name: value.to_dict() for name, value in vars(self).items() if isinstance(value, Estimate)}
        return fields | estimates | {"seats": [list(counts) for counts in self.seats]}


def compare(games: GameTable | Iterable[PlayedGame], player: str, opponent: str, *, level: float = 0.95) -> Comparison:
    """Return the results of two players against each other.

    Args:
        games: Games of one kind; games of other players are left out.
        player: Name of the player for whom wins are counted.
        opponent: Name of the other one.
        level: Confidence level.

    Raises:
        ConfigError: If games are of more than one kind or invalid, or the two played no game against each other.
    """
    check_level(level)
    table = as_table(games).between(player, opponent)
    if not len(table.results):
        raise ConfigError(
            f"games: expected games of {shown(player)} against {shown(opponent)}, got none: play some, "
            "or compare the ratings of both, which need only be connected by games"
        )
    seat = (table.first != table.index[player]).astype(np.int64)  # of the player
    results = np.where(seat == 0, table.results, WON_FIRST - table.results)
    kinds = (WON_FIRST, TIED, LOST_FIRST)
    counts = [[int(table.counts[(seat == s) & (results == kind)].sum()) for kind in kinds] for s in range(2)]
    wins, draws, losses = (a + b for a, b in zip(*counts, strict=True))
    rates = [mean_of_maps(table, (results == kind).astype(float), level) for kind in kinds]
    score = mean_of_maps(table, results / 2, level)
    return Comparison(
        player=player,
        opponent=opponent,
        games=wins + draws + losses,
        wins=wins,
        draws=draws,
        losses=losses,
        cut_offs=int(table.counts[table.cut_off].sum()),
        pairs=count_pairs(table, seat),
        win_rate=rates[0],
        draw_rate=rates[1],
        loss_rate=rates[2],
        score=score,
        elo=Estimate(*map(elo_of_score, score)),
        seats=(tuple(counts[0]), tuple(counts[1])),  # type: ignore[arg-type]
        level=level,
    )


def count_pairs(table: GameTable, seat: npt.NDArray[np.int64]) -> int:
    """Return the number of maps with exactly one game from each seat."""
    if not table.known_maps:
        return 0
    _, places = np.unique(table.maps, return_inverse=True)
    return int(((np.bincount(places, seat == 0) == 1) & (np.bincount(places, seat == 1) == 1)).sum())


def mean_of_maps(table: GameTable, values: npt.NDArray[np.float64], level: float = 0.95) -> Estimate:
    """Return the mean of a number from 0 to 1 of each game, with its interval by maps.

    Args:
        table: The games.
        values: (N,) numbers from 0 to 1, one for each row of the table.
        level: Confidence level.
    """
    games = float(table.counts.sum())
    mean = float((table.counts * values).sum() / games)
    full = mean * (1 - mean)  # the variance of a game that is won or lost
    if full <= 0:
        return rate_interval(mean * games, games, level)
    residuals = values - mean
    sizes, sums = table.counts.astype(float), table.counts * residuals**2
    if table.known_maps:
        _, places = np.unique(table.maps, return_inverse=True)
        sizes = np.bincount(places, table.counts).astype(float)
        sums = np.bincount(places, table.counts * residuals).astype(float) ** 2
    if (not table.known_maps or sizes.max() == 1) and np.isin(values, (0, 1)).all():
        return rate_interval(mean * games, games, level)  # independent games
    # One more map with the variance of independent games is a weak prior: a few equal results do not make a certainty.
    size_of_map = float((sizes**2).sum()) / games if table.known_maps else 1.0
    variance = float(sums.sum()) + full * size_of_map
    return rate_interval(mean * games, games, level, effective=games * games * full / variance)


def mean_of_opponents(parts: Sequence[tuple[GameTable, npt.NDArray[np.float64]]], level: float = 0.95) -> Estimate:
    """Return the mean of a number over the games against several opponents, with its interval.

    The numbers of games against each are fixed, so that differences between opponents are no uncertainty: the variances of the
    means against each are added.

    Args:
        parts: For each opponent the games, and values as of ``mean_of_maps``.
        level: Confidence level.
    """
    points = games = variance = 0.0
    for table, values in parts:
        count = float(table.counts.sum())
        value, low, high = mean_of_maps(table, values, 0.68)
        points, games = points + count * value, games + count
        variance += (count * (high - low) / 2) ** 2  # a 68% interval is one standard error to each side, also of no wins
    mean = points / games
    if mean * (1 - mean) <= 0:
        return rate_interval(points, games, level)
    return rate_interval(points, games, level, effective=games * games * mean * (1 - mean) / variance)


def rate_interval(successes: float, games: float, level: float = 0.95, effective: float | None = None) -> Estimate:
    """Return a rate with Wilson's interval.

    Args:
        successes: Number of successes, or sum of points.
        games: Number of games, positive.
        level: Confidence level.
        effective: Number of independent games that determine the rate as well as these games do; default: ``games``.

    Raises:
        ConfigError: If the numbers are not 0 <= successes <= games with games > 0, or the level is not between 0 and 1.
    """
    from statsmodels.stats.proportion import proportion_confint

    check_level(level)
    if not (is_number(games) and is_number(successes) and 0 < games < math.inf and 0 <= successes <= games):
        raise ConfigError(f"successes: expected 0 to {shown(games)} of a positive number of games, got {shown(successes)}")
    rate = successes / games
    size = games if effective is None else effective
    low, high = proportion_confint(rate * size, size, alpha=1 - level, method="wilson")
    return Estimate(rate, min(max(float(low), 0.0), rate), max(min(float(high), 1.0), rate))


def elo_of_score(score: float) -> float:
    """Return the Elo difference at which a player scores ``score`` points a game; infinite for 0 and 1."""
    if score <= 0 or score >= 1:
        return math.inf if score >= 1 else -math.inf
    return ELO * math.log(score / (1 - score))


def score_of_elo(elo: float) -> float:
    """Return the points a game that an Elo difference means."""
    return 0.5 * (1 + math.tanh(elo / ELO / 2))


def check_level(level: float) -> None:
    """Raise ``ConfigError`` unless ``level`` is between 0 and 1."""
    if not is_number(level) or not 0 < level < 1:
        raise ConfigError(f"level: expected a number between 0 and 1, such as 0.95, got {shown(level)}")
