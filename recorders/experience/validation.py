"""Validates experiences one by one and tells the reason for each that is rejected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.packed.legality import legal_actions
from generals_env.engine.packed.packing import OWNER_OFFSET, PackedBoards, bits_of
from generals_env.recorders.experience.batch import ExperienceBatch
from generals_env.recorders.experience.stacked_frames import frames_back

__all__ = [
    "Reason",
    "Validation",
    "validate",
]


CHUNK = 1 << 22  # numbers that are looked at together


Flags = npt.NDArray[np.bool_]


class Reason(IntEnum):
    """What is wrong with an experience. Of several reasons the first counts."""

    FINE = 0
    #: An index of state or next state leads to no board, or what is there is none: no ground, owners that nobody is.
    MISSING_STATE = 1
    #: Arrays, boards and the shape that the batch tells do not go together.
    WRONG_SHAPE = 2
    #: The index of the game or of the player is none of the batch's.
    UNKNOWN_PLAYER = 3
    #: The action is no index of the action space.
    ACTION_OUT_OF_RANGE = 4
    #: The action is not in its own mask.
    ILLEGAL_ACTION = 5
    #: The reward is infinite or not a number.
    NON_FINITE_REWARD = 6
    #: So is a number of an observation (those derived from boards are finite always).
    NON_FINITE_TENSOR = 7
    #: The sequence number is not above that of an experience before.
    SEQUENCE_REPEAT = 8
    #: Numbers were left out. Only counted: no experience is at fault.
    SEQUENCE_GAP = 9

    @property
    def label(self) -> str:
        """The name under which it is counted."""
        return self.name.lower()


@dataclass(frozen=True, eq=False)
class Validation:
    """What was found out about n experiences.

    Attributes:
        reasons: (n,) uint8, a ``Reason`` each, 0 if fine.
        missing: How many sequence numbers were left out between them, and between the batch and the one before.
        last: The highest sequence number of their source so far, None if there is none.
    """

    reasons: npt.NDArray[np.uint8]
    missing: int = 0
    last: int | None = None

    @property
    def good(self) -> Flags:
        """(n,) bool."""
        return np.equal(self.reasons, np.uint8(Reason.FINE))

    def counts(self) -> Counter[str]:
        """Return how many experiences have each reason, by its label; and how many are missing as ``sequence_gap``."""
        numbers, times = np.unique(self.reasons[~self.good], return_counts=True)
        counts = Counter({Reason(number).label: int(time) for number, time in zip(numbers, times, strict=True)})
        if self.missing:
            counts[Reason.SEQUENCE_GAP.label] = self.missing
        return counts


def validate(batch: ExperienceBatch) -> Validation:
    """Return what is wrong with the experiences of a batch, sequence numbers apart: these are for a ``Validator``."""
    count = len(batch)
    reasons = np.zeros(count, np.uint8)
    if not arrays_fit(batch):
        reasons[:] = Reason.WRONG_SHAPE
        return Validation(reasons)

    def mark(reason: Reason, bad: Flags) -> None:
        reasons[(reasons == Reason.FINE) & bad] = reason

    boards, rows = batch.boards, batch.rows
    sound, fitting = boards_fit(boards, batch.shape, batch.recipe.frames)
    ends = [rows["state_index"], rows["next_state_index"]]
    mark(Reason.MISSING_STATE, ~(taken(sound, ends[0]) & taken(sound, ends[1])))
    if batch.dense is not None:
        there = np.ones(len(batch.dense.observations), np.bool_)
        mark(Reason.MISSING_STATE, ~(taken(there, batch.dense.before) & taken(there, batch.dense.after)))
    mark(Reason.WRONG_SHAPE, ~(taken(fitting, ends[0]) & taken(fitting, ends[1])) | (rows["steps"] < 1))
    mark(Reason.UNKNOWN_PLAYER, ~(within(rows["game"], len(batch.game_ids)) & within(rows["player_id"], batch.players)))
    mark(Reason.ACTION_OUT_OF_RANGE, ~within(rows["action"], 8 * boards.tiles.shape[1] + 1))
    rest = np.flatnonzero(reasons == Reason.FINE)
    legal = np.empty(len(rest), np.bool_)
    legal_actions(boards, rows["state_index"][rest], rows["player_id"][rest], rows["action"][rest], batch.shape[0], legal)
    reasons[rest[~legal]] = Reason.ILLEGAL_ACTION
    mark(Reason.NON_FINITE_REWARD, ~np.isfinite(rows["reward"]))
    if batch.dense is not None and batch.dense.observations.dtype.kind in "fc":
        finite = finite_rows(batch.dense.observations)
        mark(Reason.NON_FINITE_TENSOR, ~(taken(finite, batch.dense.before) & taken(finite, batch.dense.after)))
    return Validation(reasons)


def arrays_fit(batch: ExperienceBatch) -> bool:
    """Return whether the arrays of a batch have shapes that go together: what kernels take for granted."""
    boards, (height, width) = batch.boards, batch.shape
    tiles, count, grounds = height * width, len(boards.entries), len(boards.games)
    if boards.players.ndim != 2 or height < 1 or width < 1:
        return False
    seats = boards.players.shape[1]
    return (
        boards.tiles.shape == (count, tiles)
        and boards.terrain.shape == (grounds, tiles)
        and boards.players.shape == (grounds, seats)
        and boards.armies.shape == (len(boards.armies), tiles)
        and boards.memory.shape in ((count, seats, tiles), (0, seats, tiles))
        and (len(boards.memory) == count or not batch.recipe.memory)
        and (batch.dense is None or batch.dense.before.shape == batch.dense.after.shape == batch.rows.shape)
    )


def boards_fit(boards: PackedBoards, shape: tuple[int, int], frames: int) -> tuple[Flags, Flags]:
    """Return which boards (N,) are boards at all, as are the ``frames - 1`` before them, and which have this shape."""
    height, width = shape
    games, homes, entries = boards.games, boards.players["general"], boards.entries
    same = (games["height"] == height) & (games["width"] == width)
    inside = (games["rows"] > 0) & (games["rows"] <= height) & (games["columns"] > 0) & (games["columns"] <= width)
    fitting = same & inside & ((homes >= -1) & (homes < height * width)).all(axis=1)
    seats = boards.players.shape[1]
    sound = within(entries["ground"], len(games)) & within(entries["previous"], len(entries), -1)
    sound &= within(entries["wide"], len(boards.armies), -1)
    codes = np.int16((1 << bits_of(seats)) - 1)
    if codes >= seats + OWNER_OFFSET:  # else every code is somebody's
        step = max(CHUNK // boards.tiles.shape[1], 1)
        for low in range(0, len(entries), step):
            owners = boards.tiles[low : low + step] & codes
            sound[low : low + step] &= (owners < seats + OWNER_OFFSET).all(axis=1)
    alone = sound.copy()
    previous = np.where(within(entries["previous"], len(entries)), entries["previous"], -1)
    for index in frames_back(previous, np.arange(len(entries)), frames):
        sound &= (index < 0) | alone[index]
    return sound, taken(fitting, entries["ground"])


def within(numbers: npt.NDArray[Any], limit: int, least: int = 0) -> Flags:
    """Return which numbers are from ``least`` to ``limit - 1``."""
    return (numbers >= least) & (numbers < limit)


def taken(flags: Flags, index: npt.NDArray[Any]) -> Flags:
    """Return the flags at these places, False where there is none."""
    there = within(index, len(flags))
    return there & flags[np.where(there, index, 0)] if len(flags) else there


def finite_rows(observations: npt.NDArray[Any]) -> Flags:
    """Return which observations (m, ...) hold finite numbers only."""
    flat = observations.reshape(len(observations), -1)
    step = max(CHUNK // max(flat.shape[1], 1), 1)
    parts = [np.isfinite(flat[low : low + step]).all(axis=1) for low in range(0, len(flat), step)]
    return np.concatenate(parts) if parts else np.ones(0, np.bool_)
