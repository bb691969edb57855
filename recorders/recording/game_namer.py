"""Gives ids to the games of a run, also to games that span several recordings."""

from __future__ import annotations

import numpy as np

from generals_env.engine.packed.recording import ENDED, GAMES, Recording

__all__ = ["GameNamer"]


class GameNamer:
    """Names games ``<run_id>-000000`` and so on, in the order in which their first batches are made.

    Attributes:
        named: How many games have an id.
    """

    def __init__(self, run_id: str, games: int) -> None:
        """Name the games that B = ``games`` environments play one after another."""
        self.named = 0
        self._run_id = run_id
        self._ids: list[str | None] = [None] * games  # of games that had begun before their recording did

    def count_new(self, recording: Recording) -> int:
        """Return how many games of a recording have no id yet."""
        return self._known(recording).count(None)

    def name(self, recording: Recording) -> tuple[str, ...]:
        """Return the ids of a recording's games, in its order; new games are given one."""
        ids = tuple(known or self._new() for known in self._known(recording))
        for game, name in zip(recording.places[: recording.counts[GAMES]].tolist(), ids, strict=True):
            self._ids[game] = name
        self.forget(np.flatnonzero(recording.current == ENDED).tolist())
        return ids

    def forget(self, games: list[int]) -> None:
        """Let new games begin in place of these, indices below B."""
        for game in games:
            self._ids[game] = None

    def _known(self, recording: Recording) -> list[str | None]:
        """Return the ids of a recording's games, None for new ones."""
        ids = list(self._ids)
        known = []
        for game in recording.places[: recording.counts[GAMES]].tolist():
            known.append(ids[game])
            ids[game] = None  # what begins there later in the recording is another game
        return known

    def _new(self) -> str:
        name = f"{self._run_id}-{self.named:06d}"
        self.named += 1
        return name
