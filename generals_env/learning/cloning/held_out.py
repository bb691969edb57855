"""Divides moves between training and test by the players who made them: ``hold_out``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arguments import is_number
from generals_env.errors import ConfigError
from generals_env.learning.cloning.move_store import MoveStore

__all__ = ["Split", "hold_out"]

Entries = tuple[npt.NDArray[np.int64], ...]


class Split(NamedTuple):
    """Which moves are for what: numbers of entries, of each group of a store.

    Attributes:
        training: Moves of games of which no player is held out.
        held_out: Moves of players who are held out.
        left_out: Number of moves of the others in games with a player who is held out; they are used for neither.
    """

    training: Entries
    held_out: Entries
    left_out: int


def hold_out(store: MoveStore, share: float = 0.1) -> Split:
    """Divide the moves of a store by player.

    A player is held out if the hash of his name lies in the lowest ``share`` of all hashes: always the same players, whatever
    games there are. No move of theirs is in the training, and no board of a game that they played: the moves of the others in
    such a game are left out. Players without names are known by their game only, so all of them are held out or none.

    Args:
        store: The moves.
        share: Expected share of the players, from 0 to 1.

    Raises:
        ConfigError: If ``share`` is no such number.
    """
    if not is_number(share) or not 0 <= share <= 1:
        raise ConfigError(f"share: expected a number from 0 to 1, got {share!r:.80}")
    most = max(len(game.keys) for game in store.games)
    held = np.zeros((len(store.games), most), np.bool_)
    for number, game in enumerate(store.games):
        held[number, : len(game.keys)] = [int(key) < share * 2**64 for key in game.keys]
    mixed: npt.NDArray[np.bool_] = np.asarray(held.any(axis=1))
    training = tuple(np.flatnonzero(~mixed[group.game]) for group in store.groups)
    test = tuple(np.flatnonzero(held[group.game, group.player]) for group in store.groups)
    used = sum(map(len, training)) + sum(map(len, test))
    return Split(training, test, len(store) - used)
