"""Compares experiences game by game, whatever their order and the names of games; policies for rollouts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from generals_env.errors import StorageError
from generals_env.recorders import ExperienceBatch

__all__ = ["DrawingPolicy", "RefusingSink", "contents_of_games", "ids_of"]


def contents_of_games(batches: Iterable[ExperienceBatch], named: bool = True) -> Counter[str]:
    """Return a hash of each game: of its id, if ``named``, and all columns, observations and masks of its experiences."""
    whole = ExperienceBatch.concat(list(batches))
    order = np.lexsort((whole.player_id, whole.turn, whole.game_id))
    whole = whole.select(order)
    columns = np.stack([whole.turn, whole.player_id, whole.action, whole.illegal, whole.terminated, whole.truncated], axis=1)
    parts = [columns.astype(np.int64), whole.rewards(), whole.states(), whole.next_states(), whole.next_action_masks()]
    starts = np.flatnonzero(np.r_[True, np.diff(whole.game) != 0])
    hashes = []
    for low, high in zip(starts, [*starts[1:], len(whole)], strict=True):
        name = whole.game_ids[whole.game[low]] if named else ""
        hashes.append(hashlib.sha256(name.encode() + b"".join(part[low:high].tobytes() for part in parts)).hexdigest())
    return Counter(hashes)


def ids_of(batch: ExperienceBatch) -> list[tuple[str, int, int]]:
    """Return game, turn and player of each experience."""
    return list(zip(batch.game_id.tolist(), batch.turn.tolist(), batch.player_id.tolist(), strict=True))


class DrawingPolicy:
    """Plays random legal actions; with the weights ``{"last": True}`` the last legal action."""

    version = 7

    def __init__(self) -> None:
        self.last = False
        self.reset(0)

    def reset(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def set_weights(self, weights: Any) -> None:
        self.last = bool(weights["last"])

    def act(self, observations: Any, masks: Any) -> Any:
        numbers = np.arange(masks.shape[-1]) if self.last else self.rng.random(masks.shape)
        return np.where(masks != 0, numbers, -1).argmax(axis=-1)


class RefusingSink:
    """Raises an error with each batch."""

    def write(self, batch: ExperienceBatch) -> None:
        raise StorageError("disk: expected room, got none: free some")

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
