"""Guards comparisons: players are comparable only if games connect them, directly or over other players.

Nothing follows from two pools of players that never met, however many games each played. And if all games between two parts of
the players were won by one part, the difference of the parts has no limit on one side: ``bounds_of`` says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.game_table import LOST_FIRST, WON_FIRST, GameTable, as_table
from generals_env.arguments import shown
from generals_env.errors import ConfigError

__all__ = ["Bounds", "bounds_of", "check_connected", "connected_groups", "scored_graph"]

SHOWN = 4  # players of a group that a message names


class Bounds(NamedTuple):
    """Which limits the games set to ratings relative to one player.

    Attributes:
        below: (P,) bool, whether the rating has a lower limit: a chain of points leads from the player to the one.
        above: (P,) bool, whether the rating has an upper limit.
    """

    below: npt.NDArray[np.bool_]
    above: npt.NDArray[np.bool_]


def connected_groups(games: GameTable | Iterable[PlayedGame]) -> list[tuple[str, ...]]:
    """Return the players in groups that games connect, the group with the highest number of players first."""
    from scipy.sparse.csgraph import connected_components

    table = as_table(games)
    _, labels = connected_components(scored_graph(table), directed=True, connection="weak")
    groups: dict[int, list[str]] = {}
    for name, label in zip(table.players, labels, strict=True):
        groups.setdefault(int(label), []).append(name)
    return sorted(map(tuple, groups.values()), key=lambda group: (-len(group), group))


def check_connected(games: GameTable | Iterable[PlayedGame], players: Iterable[str] | None = None) -> None:
    """Check that games connect players.

    Args:
        games: Games of one kind.
        players: Names of the players to compare; default: all.

    Raises:
        ConfigError: If a player has no game, or no games connect two of them; the message names the groups, and games to play.
    """
    table = as_table(games)
    chosen = set(table.players if players is None else players)
    for name in sorted(chosen):
        table.number_of("players", name)
    groups = [group for group in connected_groups(table) if chosen.intersection(group)]
    if len(groups) > 1:
        named = "; ".join(group_text(group) for group in groups[:SHOWN])
        more = f"; and {len(groups) - SHOWN} other groups" if len(groups) > SHOWN else ""
        links = ", ".join(f"{shown(groups[0][0], 60)} against {shown(group[0], 60)}" for group in groups[1:SHOWN])
        raise ConfigError(
            f"games: expected games that connect all compared players, got {len(groups)} groups without a game between them: "
            f"{named}{more}: play games between them, such as {links}, or rate each group by itself"
        )


def group_text(group: tuple[str, ...]) -> str:
    """Return a group of players in brackets, at most some of them named."""
    more = f" and {len(group) - SHOWN} others" if len(group) > SHOWN else ""
    return f"({', '.join(shown(name, 60) for name in group[:SHOWN])}{more})"


def scored_graph(table: GameTable) -> Any:
    """Return the sparse graph (P, P) with an edge from each player to each opponent against whom it won or drew a game."""
    from scipy.sparse import csr_array

    first, second = table.results > LOST_FIRST, table.results < WON_FIRST
    rows = np.concatenate([table.first[first], table.second[second]])
    columns = np.concatenate([table.second[first], table.first[second]])
    size = len(table.players)
    return csr_array((np.ones(len(rows), np.float64), (rows, columns)), shape=(size, size))


def bounds_of(table: GameTable, player: int) -> Bounds:
    """Return which limits the games set to all ratings relative to that of ``player``, an index of the table."""
    from scipy.sparse.csgraph import breadth_first_order

    graph = scored_graph(table)
    reached = []
    for one in (graph.T.tocsr(), graph):
        found = np.zeros(len(table.players), np.bool_)
        found[breadth_first_order(one, player, directed=True, return_predecessors=False)] = True
        reached.append(found)
    return Bounds(*reached)
