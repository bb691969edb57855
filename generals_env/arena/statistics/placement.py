"""Places one player on a scale of opponents with known ratings.

The model is that of ``davidson``, with the opponents' strengths given: the rating is the one at which the expected points of
the player equal those of its games. The ratings of the opponents define the scale, so they add nothing to the interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.davidson import SeatCounts, fit, probabilities
from generals_env.arena.statistics.game_table import LOST_FIRST, WON_FIRST, GameTable, as_table
from generals_env.arena.statistics.intervals import ELO, Estimate, check_level
from generals_env.arena.statistics.ratings import in_elo, map_factor
from generals_env.arguments import shown
from generals_env.errors import ConfigError

__all__ = ["place"]


def place(games: GameTable | Iterable[PlayedGame], player: str, scale: Mapping[str, float], *, level: float = 0.95) -> Estimate:
    """Return the rating of a player by its games against opponents of known ratings.

    A player that won all these games is rated as if one game more, against the strongest opponent, had been half won; the upper
    end of its interval is infinite. Likewise for one that lost all, against the weakest opponent.

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
    middle = float(np.average(known, weights=table.counts))
    counts = np.zeros((len(points), 3))
    counts[np.arange(len(points)), table.results] = table.counts
    ahead = np.where(is_first, middle - known, known - middle)
    # One virtual game between equals, half won by each seat, keeps the seat term finite; it is that of ``ratings``.
    virtual = [(1, 1, 0.0, 0.5)]
    won_all, lost_all = bool((points == WON_FIRST).all()), bool((points == LOST_FIRST).all())
    if won_all or lost_all:
        gap = middle - float(known.max() if won_all else known.min())
        virtual += [(0, 1, gap, 0.25), (1, 0, -gap, 0.25)]
    first, second, gaps, halves = (np.array(column) for column in zip(*virtual, strict=True))
    results = SeatCounts(
        size=2,  # the player and the scale
        first=np.concatenate([np.where(is_first, 0, 1), first]).astype(np.int32),
        second=np.concatenate([np.where(is_first, 1, 0), second]).astype(np.int32),
        counts=np.concatenate([counts, halves[:, None] * [1, 0, 1]]),
        ahead=np.concatenate([ahead, gaps]),
    )
    model = fit(results, reference=1)
    strength = float(model.strengths[0])
    sign = np.where(is_first, 1, -1)
    expected = probabilities(ahead + sign * strength + model.seat, model.log_draw)
    variance = float(model.covariance[0, 0]) * map_factor(table, expected)
    return Estimate(*(middle * ELO + value for value in in_elo(strength, variance, level, not lost_all, not won_all)))
