"""Places one player on a scale of opponents with known ratings.

Draws are half points, see ``bradley_terry``, and the opponents' strengths are given: the rating is the one at which the
expected points of the player equal those of its games. The ratings of the opponents define the scale, so they add nothing to
the interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.bradley_terry import SeatCounts, fit_games
from generals_env.arena.statistics.game_table import LOST_FIRST, WON_FIRST, GameTable, as_table
from generals_env.arena.statistics.intervals import ELO, Estimate, check_level
from generals_env.arena.statistics.ratings import in_elo
from generals_env.arguments import shown
from generals_env.errors import ConfigError

__all__ = ["place"]


def place(games: GameTable | Iterable[PlayedGame], player: str, scale: Mapping[str, float], *, level: float = 0.95) -> Estimate:
    """Return the rating of a player by its games against opponents of known ratings.

    A player that won all these games is rated as if one game more, against the strongest opponent, had been half won. The upper
    end of its interval is infinite; at the lower end, the probability of winning all games is half of ``1 - level``, as for the
    exact interval of a rate (Clopper-Pearson). Likewise for one that lost all, against the weakest opponent.

    Args:
        games: Games of one kind; those without the player, or against opponents that are not on the scale, are left out.
        player: Name of the player.
        scale: Elo ratings of the opponents by name.
        level: Confidence level.

    Raises:
        ConfigError: If the player has no games against opponents of the scale, or is on it.
    """
    check_level(level)
    if player in scale:
        raise ConfigError(f"player: expected one that is not on the scale, got {shown(player)}: leave it out of the scale")
    table = as_table(games)
    own = table.number_of("player", player)
    elo = np.array([scale.get(name, np.nan) for name in table.players]) / ELO
    opponent = np.where(table.first == own, table.second, table.first)
    table = table.taken(((table.first == own) | (table.second == own)) & np.isfinite(elo[opponent]))
    if not len(table.results):
        raise ConfigError(
            f"games: expected games of {shown(player)} against one of {shown(', '.join(scale))}, got none: play some first"
        )
    is_first = table.first == own
    known = elo[np.where(is_first, table.second, table.first)]
    points = np.where(is_first, table.results, WON_FIRST - table.results)
    won_all, lost_all = bool((points == WON_FIRST).all()), bool((points == LOST_FIRST).all())
    middle = float(np.average(known, weights=table.counts))
    # One virtual game between equals, half won by each seat, keeps the seat term finite; it is that of ``ratings``.
    virtual = [(1, 1, 0.0, 0.5)]
    if won_all or lost_all:
        gap = middle - float(known.max() if won_all else known.min())
        virtual += [(0, 1, gap, 0.25), (1, 0, -gap, 0.25)]
    first, second, gaps, halves = (np.array(column) for column in zip(*virtual, strict=True))
    roles = np.ones(len(elo), np.int64)  # the scale has one strength, zero; its players are known to be more or less
    roles[own], elo[own] = 0, middle
    added = SeatCounts(first, second, gaps, halves[:, None] * np.array([1.0, 0.0, 1.0]))
    model = fit_games(table, roles, np.nan_to_num(elo - middle), 1, added)
    strength = float(model.strengths[0])
    if won_all or lost_all:
        limit = limit_of(known, table.counts, 1 if won_all else -1, (1 - level) / 2) * ELO
        return Estimate((middle + strength) * ELO, *((limit, math.inf) if won_all else (-math.inf, limit)))
    variance = float(model.covariance[0, 0])
    return Estimate(*(middle * ELO + value for value in in_elo(strength, variance, level, below=True, above=True)))


def limit_of(known: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], sign: int, probability: float) -> float:
    """Return the strength at which a player wins (``sign`` 1) or loses (-1) all games with some probability.

    Args:
        known: (N,) strengths of the opponents.
        counts: (N,) games against them.
        sign: 1 or -1.
        probability: The probability.
    """
    from scipy.optimize import brentq

    def surplus(strength: float) -> float:
        return float(math.log(probability) + (counts * np.logaddexp(0, -sign * (strength - known))).sum())

    # Beyond these strengths, even the game against the opponent at that end alone, or all of them together, decide the sign.
    reach = 40 + math.log(float(counts.sum()))
    return float(brentq(surplus, float(known.min()) - reach, float(known.max()) + reach))
