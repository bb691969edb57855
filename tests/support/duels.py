"""Makes batches of duels on boards of several sizes: games of this repository, and of people from the ground truth."""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path

import numpy as np

from generals_env import replay
from generals_env.errors import ReplayError
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.recording.single_game_collector import GameCollector
from generals_env.recorders.recording.turn_batcher import TurnBatcher
from support.ground_truth import load
from support.helpers import Memory
from support.paths import DATA

#: Duels in ``tests/data``; of other games there, batches with these cannot be put together.
OWN = ("duel", "duel_large", "duel_small", "duel_square", "duel_tall", "duel_wide", "old")

COLUMNS = ("action", "reward", "sequence", "player_id", "illegal", "terminated", "truncated", "turn", "collected_at")


def recorded(games: list[replay.Replay]) -> list[ExperienceBatch]:
    """Record games; those that need sight which is not built are left out."""
    batches = Memory()
    batcher = TurnBatcher(batches)
    collector = GameCollector(batcher)
    for game in games:
        try:
            game.collect(collector)
        except ReplayError:
            continue
    batcher.close()
    return batches


@cache
def duels_of(pack: Path | None) -> list[ExperienceBatch]:
    """Return the duels of this repository, or eight of a pack of the ground truth."""
    if pack is None:
        return recorded([replay.read(DATA / f"{name}.json.gz") for name in OWN])
    return recorded([replay.from_dict(case["replay"]) for case in load(pack)[:8]])


@cache
def whole_of(pack: Path | None) -> ExperienceBatch:
    """Return all of them as one batch."""
    return ExperienceBatch.concat(duels_of(pack))


def digest(batch: ExperienceBatch, order: np.ndarray | None = None) -> list[int]:
    """Return checksums of all contents of a batch, in the order of sequences, a thousand experiences at a time."""
    order = np.argsort(batch.sequence) if order is None else order
    sums = [zlib.crc32(np.ascontiguousarray(getattr(batch, name)[order]).tobytes()) for name in COLUMNS]
    sums.append(zlib.crc32("".join(batch.game_id[order].tolist()).encode()))
    for low in range(0, len(order), 1000):
        part = batch.select(order[low : low + 1000])
        tensors = (part.states(), part.next_states(), part.action_masks(), part.next_action_masks())
        sums += [zlib.crc32(array.tobytes()) for array in tensors]
    return sums


@cache
def digest_of(pack: Path | None) -> list[int]:
    """Return the checksums of all of them."""
    return digest(whole_of(pack))
