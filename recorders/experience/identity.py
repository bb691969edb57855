"""Hashes the identity of experiences: their game, player and turn."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from generals_env.engine.storage.hash_set import EMPTY, Words
from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = ["MAX_REMEMBERED", "experience_hashes"]

#: Maximum number of hashes that are remembered to recognise repeats: 24 GiB.
MAX_REMEMBERED = 2**30


def experience_hashes(batch: ExperienceBatch) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of the game, player and turn of each experience, (n,) uint64 without zeros.

    Hashes are the same in every process. Within a game they never collide (except that 0 becomes 1); for two experiences of
    different games they collide with a probability of 2**-64.
    """
    games = np.array([game_hash(name) for name in batch.game_ids], np.uint64)
    if not len(batch):
        return np.empty(0, np.uint64)
    places = batch.turn.astype(np.uint64) << np.uint64(8) | batch.player_id.astype(np.uint64)
    hashes = splitmix64(games[batch.game] + splitmix64(places))
    hashes[hashes == EMPTY] = 1
    return hashes


def game_hash(game_id: str) -> int:
    """Return a 64-bit hash of the id of a game."""
    return int.from_bytes(hashlib.blake2b(game_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def splitmix64(words: Words) -> Words:
    """Return mixed words, different ones for different words: the finalizer of SplitMix64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
