"""Draws moves from a store and makes tensors of them: ``MoveSampler``, ``moves_in_order``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_flag
from generals_env.engine.packed.turned_views import SymmetryTables, symmetry_tables
from generals_env.errors import ConfigError
from generals_env.learning.cloning.move_store import MoveStore, SizeGroup
from generals_env.learning.rollouts.turned_batches import turned

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'move_batches: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["MoveBatch", "MoveSampler", "moves_in_order"]

Index = npt.NDArray[np.int64]


@dataclass
class MoveBatch:
    """n moves on boards of one size, as tensors on the learner's device; each transformed by a symmetry.

    Attributes:
        observations: (n, C, H, W) float32, channels last in memory: what the player saw.
        legal: (n, A) bool.
        actions: (n,) int64, what the player did.
        passes: (n,) bool, whether that was the pass.
        outcomes: (n,) float32, 1 for a win, -1 for a loss, NaN for an unknown end.
        left: (n,) int64, turns until the end.
    """

    observations: Tensor
    legal: Tensor
    actions: Tensor
    passes: Tensor
    outcomes: Tensor
    left: Tensor


@cache
def tables_of(side: int) -> SymmetryTables:
    """Return the symmetries of square boards."""
    return symmetry_tables(side, side, 8 * side * side + 1)


def batch_of(group: SizeGroup, entries: Index, symmetries: Index, layout: str, device: Any = "cpu") -> MoveBatch:
    """Return entries of a group, each transformed by a symmetry (n,)."""
    tables = tables_of(group.side)
    observations, legal = turned(group.views(entries, layout), tables, symmetries, device)
    actions = tables.images[symmetries, group.action[entries]]
    columns = (actions, actions == group.passing, group.outcome[entries], group.left[entries].astype(np.int64))
    return MoveBatch(observations, legal, *(torch.from_numpy(column).to(device) for column in columns))


class MoveSampler:
    """Draws moves at random.

    A batch has boards of one size. Sizes are drawn in proportion to their games, then games with equal probabilities, then
    moves of a game with equal probabilities: long games count as much as short ones. Without ``by_game`` all moves have equal
    probabilities.
    """

    def __init__(
        self,
        store: MoveStore,
        entries: Sequence[Index],
        rng: np.random.Generator,
        by_game: bool = True,
        symmetries: bool = True,
        layout: str = "full",
    ) -> None:
        """Draw some entries of a store.

        Args:
            store: The moves.
            entries: Numbers of entries, of each group.
            rng: Generator.
            by_game: See above.
            symmetries: Whether each move is transformed by a random symmetry.
            layout: Layout of the observations.

        Raises:
            ConfigError: If there is no entry.
        """
        self._rng = rng
        self._by_game = check_flag("by_game", by_game)
        self._symmetries = 8 if check_flag("symmetries", symmetries) else 1
        self._layout = layout
        self._groups = [(group, own) for group, own in zip(store.groups, entries, strict=True) if len(own)]
        if not self._groups:
            raise ConfigError("entries: expected one or more moves, got none: pass more games, or hold out fewer players")
        self._games = [edges_of(group.game[own]) for group, own in self._groups]
        sizes = [len(edges) - 1 if by_game else int(edges[-1]) for edges in self._games]
        self._shares = np.array(sizes) / sum(sizes)

    def draw(self, count: int, device: Any = "cpu") -> MoveBatch:
        """Return ``count`` moves on boards of one size."""
        chosen = int(self._rng.choice(len(self._groups), p=self._shares))
        group, own = self._groups[chosen]
        edges = self._games[chosen]
        if self._by_game:
            game = self._rng.integers(len(edges) - 1, size=count)
            places = edges[game] + self._rng.integers(edges[game + 1] - edges[game])
        else:
            places = self._rng.integers(len(own), size=count)
        symmetries = self._rng.integers(self._symmetries, size=count)
        return batch_of(group, own[places], symmetries, self._layout, device)


def edges_of(games: npt.NDArray[np.int32]) -> Index:
    """Return where each game begins among entries that stand by game, and the number of entries at the end."""
    begins = np.flatnonzero(np.diff(games)) + 1
    return np.concatenate([[0], begins, [len(games)]]).astype(np.int64)


def moves_in_order(
    store: MoveStore, entries: Sequence[Index], count: int, layout: str = "full", device: Any = "cpu"
) -> Iterator[tuple[SizeGroup, Index, MoveBatch]]:
    """Yield entries of a store ``count`` at a time, not transformed: their group, their numbers and the batch."""
    for group, own in zip(store.groups, entries, strict=True):
        for low in range(0, len(own), count):
            part = own[low : low + count]
            yield group, part, batch_of(group, part, np.zeros(len(part), np.int64), layout, device)
