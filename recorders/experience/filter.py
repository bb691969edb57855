"""Filters experiences by game, player and turn, in files, logs and streams alike."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.errors import ConfigError
from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = ["EVERYTHING", "ExperienceFilter"]


@dataclass(frozen=True)
class ExperienceFilter:
    """Selects the experiences that meet all of its conditions.

    Attributes:
        game_ids: Games; None for all.
        player_ids: Players; None for all.
        min_turn: First turn; None for all.
    """

    game_ids: frozenset[str] | None = None
    player_ids: frozenset[int] | None = None
    min_turn: int | None = None

    @classmethod
    def of(
        cls, game_ids: Collection[str] | None = None, player_ids: Collection[int] | None = None, min_turn: int | None = None
    ) -> ExperienceFilter:
        """Return a filter.

        Raises:
            ConfigError: If an argument has the wrong type or value.
        """
        for name, value, kind, names in (
            ("game_ids", game_ids, str, "strings"),
            ("player_ids", player_ids, (int, np.integer), "integers"),
        ):
            if isinstance(value, str) or not (
                value is None
                or (isinstance(value, Collection) and all(isinstance(one, kind) and not isinstance(one, bool) for one in value))
            ):
                raise ConfigError(f"{name}: expected a list of {names} or None, got {value!r:.200}")
        if min_turn is not None:
            check_integer("min_turn", min_turn, 0, 2**31 - 1)
        games = None if game_ids is None else frozenset(game_ids)
        return cls(games, None if player_ids is None else frozenset(map(int, player_ids)), min_turn)

    def __and__(self, other: ExperienceFilter) -> ExperienceFilter:
        """Return a filter that selects the experiences that both select."""
        turns = [turn for turn in (self.min_turn, other.min_turn) if turn is not None]
        return ExperienceFilter(
            both(self.game_ids, other.game_ids), both(self.player_ids, other.player_ids), max(turns) if turns else None
        )

    def flags(self, batch: ExperienceBatch) -> npt.NDArray[np.bool_]:
        """Return which experiences of a batch are selected, (n,) bool."""
        wanted = np.ones(len(batch), np.bool_)
        if self.game_ids is not None:
            named = np.array([name in self.game_ids for name in batch.game_ids], np.bool_)
            wanted &= named[batch.game] if len(batch) else wanted
        if self.player_ids is not None:
            wanted &= np.isin(batch.player_id, list(self.player_ids))
        if self.min_turn is not None:
            wanted &= batch.turn >= self.min_turn
        return wanted

    def apply(self, batch: ExperienceBatch) -> ExperienceBatch:
        """Return the selected experiences of a batch."""
        wanted = self.flags(batch)
        return batch if wanted.all() else batch.select(wanted)


def both(one: frozenset[Any] | None, other: frozenset[Any] | None) -> frozenset[Any] | None:
    """Return the intersection; None stands for everything."""
    return other if one is None else one if other is None else one & other


#: Selects all experiences.
EVERYTHING = ExperienceFilter()
