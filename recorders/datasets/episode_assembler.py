"""Assembles whole episodes, each of one player in one game, from batches that hold parts of many games."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from generals_env.recorders.experience import ExperienceBatch

__all__ = ["EpisodeAssembler"]


class EpisodeAssembler:
    """Collects experience until an episode is whole: from turn 0 to its end, without a gap.

    Attributes:
        incomplete: The experience of episodes that are not whole yet, by game and player.
    """

    def __init__(self) -> None:
        self.incomplete: dict[tuple[str, int], list[ExperienceBatch]] = {}
        self._ended: set[tuple[str, int]] = set()
        self._whole: set[tuple[str, int]] = set()

    def add(self, batch: ExperienceBatch) -> Iterator[ExperienceBatch]:
        """Add experience, and yield each episode that is whole now, in the order of its turns."""
        order = np.lexsort((batch.turn, batch.player_id, batch.game))
        game, player = batch.game[order], batch.player_id[order]
        for rows in np.split(order, 1 + np.flatnonzero((np.diff(game) != 0) | (np.diff(player) != 0))):
            part = batch.select(rows)
            key = part.game_ids[0], int(part.player_id[0])
            if key in self._whole:
                continue  # a repeat
            self.incomplete.setdefault(key, []).append(part)
            if (part.terminated | part.truncated).any():
                self._ended.add(key)
            if key in self._ended and (episode := join_turns(self.incomplete[key])) is not None:
                self._whole.add(key)
                del self.incomplete[key]
                yield episode


def join_turns(parts: list[ExperienceBatch]) -> ExperienceBatch | None:
    """Return a player's experience from turn 0 to the end of the game, each turn once; None if a turn is missing."""
    turns, first = np.unique(np.concatenate([part.turn for part in parts]), return_index=True)
    if len(turns) != turns[-1] + 1:
        return None
    episode = ExperienceBatch.concat(parts).select(first)
    return episode if episode.terminated[-1] or episode.truncated[-1] else None
