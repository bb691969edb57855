"""Cuts a rollout into sequences of turns with burn-in, for recurrent learners: ``sequences``.

Kapturowski et al., "Recurrent Experience Replay in Distributed Reinforcement Learning", ICLR 2019: the network first runs over
some turns of which nothing is learned, so that its state is one that the present weights give.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_flag, check_integer

__all__ = ["Sequences", "sequences"]

Flags = npt.NDArray[np.bool_]


class Sequences(NamedTuple):
    """S sequences of up to b turns of burn-in and L turns to learn from; the rest, at the end, is padding.

    Attributes:
        entries: (S, b + L) int64, numbers ``t * N + seat`` of a buffer; padding repeats the last one of its sequence.
        present: (S, b + L) bool, False for padding.
        learned: (S, b + L) bool, False for burn-in, padding, and rows that are not valid. Every valid entry is learned once.
        begins: (S, b + L) bool, True where an episode is known to begin: the state before this turn is that of no turns.
    """

    entries: npt.NDArray[np.int64]
    present: Flags
    learned: Flags
    begins: Flags


def sequences(valid: Flags, ended: Flags, fresh: Flags, length: int, burn_in: int = 0, across_ends: bool = False) -> Sequences:
    """Return sequences of consecutive turns of a seat.

    Args:
        valid: (T, N), see ``RolloutBuffer``.
        ended: (T, N), see there.
        fresh: (N,), whether the first row of a seat begins its episode.
        length: L.
        burn_in: b.
        across_ends: False: a sequence has turns of one episode only. True: it goes on with the next episode, which ``begins``
            marks, so that fewer sequences are padded.

    Raises:
        ConfigError: If an argument is invalid.
    """
    check_integer("length", length, 1, 2**24)
    check_integer("burn_in", burn_in, 0, 2**24)
    check_flag("across_ends", across_ends)
    steps, seats = valid.shape
    every = np.broadcast_to(np.arange(steps), (seats, steps))
    first = np.ones((seats, steps), np.bool_)  # rows in the order of seats: the first one of an episode
    first[:, 1:] = (ended | ~valid)[:-1].T
    begins = first & valid.T
    begins[:, 0] &= fresh
    cut = first & (every == 0) if across_ends else first
    start = np.maximum.accumulate(np.where(cut, every, 0), axis=1)
    end = np.minimum.accumulate(np.where(cut, every, steps)[:, ::-1], axis=1)[:, ::-1]
    end = np.concatenate([end[:, 1:], np.full((seats, 1), steps)], axis=1)  # of the episode that a row is in
    offset = every - start
    seat, turn = np.nonzero((offset % length == 0) & (valid.T | across_ends))
    burned = np.minimum(burn_in, offset[seat, turn])
    count = burned + np.minimum(length, end[seat, turn] - turn)
    column = np.arange(burn_in + length)
    present = column < count[:, None]
    rows = (turn - burned)[:, None] + np.minimum(column, count[:, None] - 1)
    seat = seat[:, None]
    learned = present & (column >= burned[:, None]) & valid[rows, seat]
    kept = learned.any(axis=1)
    found = Sequences(rows * seats + seat, present, learned, begins[seat, rows] & present)
    return Sequences._make(array[kept] for array in found)
