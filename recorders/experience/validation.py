"""Validates experiences one by one, and returns a reason for each invalid one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION
from generals_env.engine.packed.action_legality import legal_actions
from generals_env.engine.packed.packing import OWNER_OFFSET, PackedBoards, bits_of
from generals_env.recorders.experience.batch import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.stacked_frames import frames_back

__all__ = [
    "Reason",
    "Validation",
    "validate",
]


BLOCK = 1 << 22  # numbers that are checked at a time


Flags = npt.NDArray[np.bool_]


class Reason(IntEnum):
    """Why an experience is invalid. Of several reasons the first counts."""

    FINE = 0
    #: An index of state or next state is out of range, or the board there is invalid: no ground, or owners that do not exist.
    MISSING_STATE = 1
    #: Arrays, boards, their rules and the shape of the batch do not match.
    WRONG_SHAPE = 2
    #: The index of the game or of the player is out of range.
    UNKNOWN_PLAYER = 3
    #: The action is not in the action space.
    ACTION_OUT_OF_RANGE = 4
    #: The action is not in its own mask.
    ILLEGAL_ACTION = 5
    #: The reward is infinite or not a number.
    NON_FINITE_REWARD = 6
    #: A number of a dense observation is infinite or not a number.
    NON_FINITE_TENSOR = 7
    #: The sequence number is not above that of an earlier experience.
    SEQUENCE_REPEAT = 8
    #: Sequence numbers are missing. Only counted: no experience is invalid.
    SEQUENCE_GAP = 9

    @property
    def label(self) -> str:
        """The name under which the reason is counted."""
        return self.name.lower()


@dataclass(frozen=True, eq=False)
class Validation:
    """The results of validating n experiences.

    Attributes:
        reasons: (n,) uint8, a ``Reason`` each, 0 if valid.
        missing: How many sequence numbers are missing between them, and between the batch and the one before.
        last: The highest sequence number of their source so far, None if sequence numbers were not checked.
    """

    reasons: npt.NDArray[np.uint8]
    missing: int = 0
    last: int | None = None

    @property
    def good(self) -> Flags:
        """(n,) bool, whether each experience is valid."""
        return np.equal(self.reasons, np.uint8(Reason.FINE))

    def counts(self) -> Counter[str]:
        """Return the number of experiences by the label of their reason, and of missing ones as ``sequence_gap``."""
        numbers, times = np.unique(self.reasons[~self.good], return_counts=True)
        counts = Counter({Reason(number).label: int(time) for number, time in zip(numbers, times, strict=True)})
        if self.missing:
            counts[Reason.SEQUENCE_GAP.label] = self.missing
        return counts


def validate(batch: ExperienceBatch) -> Validation:
    """Validate the experiences of a batch, except their sequence numbers, which a ``Validator`` checks."""
    count = len(batch)
    reasons = np.zeros(count, np.uint8)
    if not arrays_fit(batch):
        reasons[:] = Reason.WRONG_SHAPE
        return Validation(reasons)

    def mark(reason: Reason, bad: Flags) -> None:
        reasons[(reasons == Reason.FINE) & bad] = reason

    boards, rows = batch.boards, batch.rows
    sound, fitting = boards_fit(boards, batch.shape, batch.recipe)
    ends = [rows["state_index"], rows["next_state_index"]]
    mark(Reason.MISSING_STATE, ~(taken(sound, ends[0]) & taken(sound, ends[1])))
    if batch.dense is not None:
        there = np.ones(len(batch.dense.observations), np.bool_)
        mark(Reason.MISSING_STATE, ~(taken(there, batch.dense.before) & taken(there, batch.dense.after)))
    mark(Reason.WRONG_SHAPE, ~(taken(fitting, ends[0]) & taken(fitting, ends[1])) | (rows["steps"] < 1))
    mark(Reason.UNKNOWN_PLAYER, ~(within(rows["game"], len(batch.game_ids)) & within(rows["player_id"], batch.players)))
    mark(Reason.ACTION_OUT_OF_RANGE, ~within(rows["action"], batch.recipe.actions(batch.shape)))
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
    """Return whether the shapes of the arrays of a batch match, which kernels rely on."""
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


def boards_fit(boards: PackedBoards, shape: tuple[int, int], recipe: Recipe) -> tuple[Flags, Flags]:
    """Return which boards (N,) are valid, with the ``frames - 1`` before them, and which have this shape and fitting rules."""
    height, width = shape
    games, homes, entries = boards.games, boards.players["general"], boards.entries
    same = (games["height"] == height) & (games["width"] == width)
    inside = (games["rows"] > 0) & (games["rows"] <= height) & (games["columns"] > 0) & (games["columns"] <= width)
    fitting = same & inside & ((homes >= -1) & (homes < height * width)).all(axis=1)
    fitting &= (games["version"] == COMPETITION_VERSION) == recipe.builds
    seats = boards.players.shape[1]
    sound = within(entries["ground"], len(games)) & within(entries["previous"], len(entries), -1)
    sound &= within(entries["wide"], len(boards.armies), -1)
    codes = np.int16((1 << bits_of(seats)) - 1)
    if codes >= seats + OWNER_OFFSET:  # else every code is valid
        step = max(BLOCK // boards.tiles.shape[1], 1)
        for low in range(0, len(entries), step):
            owners = boards.tiles[low : low + step] & codes
            sound[low : low + step] &= (owners < seats + OWNER_OFFSET).all(axis=1)
    alone = sound.copy()
    previous = np.where(within(entries["previous"], len(entries)), entries["previous"], -1)
    for index in frames_back(previous, np.arange(len(entries)), recipe.frames):
        sound &= (index < 0) | alone[index]
    return sound, taken(fitting, entries["ground"])


def within(numbers: npt.NDArray[Any], limit: int, minimum: int = 0) -> Flags:
    """Return which numbers are from ``minimum`` to ``limit - 1``."""
    return (numbers >= minimum) & (numbers < limit)


def taken(flags: Flags, index: npt.NDArray[Any]) -> Flags:
    """Return the flags at an index, False where it is out of range."""
    there = within(index, len(flags))
    return there & flags[np.where(there, index, 0)] if len(flags) else there


def finite_rows(observations: npt.NDArray[Any]) -> Flags:
    """Return which observations (m, ...) have only finite numbers."""
    flat = observations.reshape(len(observations), -1)
    step = max(BLOCK // max(flat.shape[1], 1), 1)
    parts = [np.isfinite(flat[low : low + step]).all(axis=1) for low in range(0, len(flat), step)]
    return np.concatenate(parts) if parts else np.ones(0, np.bool_)
