"""Lets kernels take arrays that lie in the object store of Ray, without a copy."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.packed.packing import PackedBoards
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.dense_observations import Dense

__all__ = ["writeable_batch", "writeable_view"]


def writeable_batch(batch: ExperienceBatch) -> ExperienceBatch:
    """Return a batch whose arrays are writeable views of those of ``batch``, which Ray gives out read-only.

    Kernels are compiled for writeable arrays: for read-only ones numba would compile them a second time, for up to 20 seconds
    in every process without a cache. The views are for an object that only this process reads: a change would be seen by all.
    """
    boards = PackedBoards(*map(writeable_view, batch.boards))
    dense = batch.dense
    if dense is not None:
        dense = Dense(writeable_view(dense.observations), writeable_view(dense.before), writeable_view(dense.after))
    return replace(batch, rows=writeable_view(batch.rows), boards=boards, dense=dense)


def writeable_view(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a writeable view of an array that is read-only, a copy if it is not contiguous, or itself if it is writeable."""
    if array.flags.writeable:
        return array
    if not array.flags.c_contiguous or not array.nbytes:
        return array.copy()
    memory = (ctypes.c_char * array.nbytes).from_address(array.ctypes.data)
    memory.owner = array  # type: ignore[attr-defined]  # the memory is kept as long as the view
    return np.ndarray(array.shape, array.dtype, memory)  # type: ignore[arg-type]  # a buffer of ctypes
