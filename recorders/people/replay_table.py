"""Takes replays out of tables: lists of numbers become arrays without a Python object for each number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["rows_of"]


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a part of a table, each a mapping of column names to numbers, texts, lists and arrays."""
    columns = {name: values_of(batch.column(name)) for name in batch.schema.names}
    return [{name: values[row] for name, values in columns.items()} for row in range(batch.num_rows)]


def values_of(column: pa.Array) -> list[Any]:
    """Return the value of each row."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or column.null_count:
        return list(column.to_pylist())
    held = numbers_of(column.flatten())
    if held is None:
        return list(column.to_pylist())
    offsets = column.offsets.to_numpy()
    return np.split(held, (offsets[1:-1] - offsets[0]).tolist()) if len(column) else []


def numbers_of(values: pa.Array) -> np.ndarray[Any, Any] | None:
    """Return numbers as an array, records of numbers as a table (n, columns); None if they are something else."""
    kind = values.type
    if values.null_count:
        return None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(values.to_numpy(zero_copy_only=False))
    if pa.types.is_boolean(kind):
        return np.asarray(values.to_numpy(zero_copy_only=False), np.int64)
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = numbers_of(values.flatten())
        if inner is None or inner.ndim != 1 or not len(values) or len(inner) % len(values):
            return None
        width = len(inner) // len(values)
        if not pa.types.is_fixed_size_list(kind) and (np.diff(values.offsets.to_numpy()) != width).any():
            return None
        return inner.reshape(-1, width)
    return None
