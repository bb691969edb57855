"""Encodes batches as Parquet files, in which any tool can query turns, rewards and games; each board is stored once.

A row is an experience. Its plain columns are those of ``ExperienceBatch``, and ``game_id`` and ``turn``. Shared arrays are in
list columns, ``boards``, ``grounds`` and ``observations``, each item in the list of the first row that needs it. The items of a
row group, one after another, are an array, and indices count from the start of the group: so each row group can be read on its
own. ``tiles`` are those of ``PackedBoards``, ``army << bits | owner + 6`` as little-endian 16-bit integers.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import PLAYER
from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import ENTRY, empty_packed
from generals_env.errors import StorageError
from generals_env.recorders.encoding.arrow_columns import (
    EVEN,
    EVEN_OF_BOARDS,
    GROUND_COLUMNS,
    Group,
    batch_of,
    schema_of,
    table_of,
)
from generals_env.recorders.encoding.byte_shuffle import MAX_BYTES, header_bytes
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.bounds_checks import validate_arrays
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.stacked_frames import boards_of_frames
from generals_env.version import __version__

__all__ = ["SCHEMA", "SUFFIX", "decode", "encode"]

SUFFIX = ".parquet"

#: Version of the columns.
SCHEMA = 1

MAX_ROWS = 32_768  # of a row group
GROUP_BYTES = 2**27  # approximate size of a row group, uncompressed


LEVEL = 1  # of zstd: higher levels are slower, and files do not get smaller

#: Keys of the file's metadata: the header, and a checksum of all numbers.
HEADER, CHECKSUM = b"generals_env", b"generals_env.crc32"

Array = npt.NDArray[Any]


def encode(batch: ExperienceBatch, level: int | None = None, *, integer_times: bool = False) -> bytes:
    """Return the content of a file with a batch, without boards that no experience needs.

    Args:
        batch: The batch.
        level: Compression level of zstd, 1 to 22; ``LEVEL`` by default.
        integer_times: Whether ``collected_at`` is in nanoseconds since 1970 instead of a timestamp. ``decode`` reads both.

    Raises:
        ConfigError: If the metadata cannot be written as JSON.
        ImportError: Without pyarrow (``pip install "generals_env[storage]"``).
    """
    import pyarrow as pa
    from pyarrow import parquet

    dense = batch.dense
    header = header_bytes(
        {
            "schema": SCHEMA,
            "generals_env": __version__,
            "shape": batch.shape,
            "players": batch.players,
            "memory": len(batch.boards.memory) > 0,
            "dense": None if dense is None else [dense.observations.dtype.str, dense.observations.shape[1:]],
            "game_ids": batch.game_ids,
            "recipe": batch.recipe.to_dict(),
            "metadata": dict(batch.metadata),
        }
    )
    schema = schema_of(batch, len(batch.boards.memory) > 0, integer_times)
    names = [name for name in schema.names if name not in ("boards", "grounds", "observations")]
    file = pa.BufferOutputStream()
    writer = parquet.ParquetWriter(
        file,
        schema,
        compression="zstd",
        compression_level=LEVEL if level is None else level,
        use_dictionary=[name for name in names if name not in EVEN],
        column_encoding={
            **dict.fromkeys(EVEN, "DELTA_BINARY_PACKED"),
            **{f"boards.list.element.{name}": "DELTA_BINARY_PACKED" for name in EVEN_OF_BOARDS},
        },
        write_statistics=names,
        write_page_checksum=True,
    )
    checksum = zlib.crc32(header)
    with writer:
        for group in groups(batch):
            checksum = checksum_of(group.part, checksum)
            table = table_of(group, schema)
            writer.write_table(table, row_group_size=len(table))
        writer.add_key_value_metadata({HEADER: header, CHECKSUM: f"{checksum:08x}"})
    data: bytes = file.getvalue().to_pybytes()
    return data


def groups(batch: ExperienceBatch) -> Iterator[Group]:
    """Yield the experiences of a batch in row groups, each with the boards that it needs."""
    row_bytes = 8 * math.prod(batch.shape)  # two boards, and the columns
    if batch.dense is not None:
        row_bytes += 2 * batch.dense.observations[:1].nbytes
    if len(batch.boards.memory):
        row_bytes += 2 * batch.boards.memory[:1].nbytes
    size = min(max(GROUP_BYTES // max(row_bytes, 1), 1), MAX_ROWS)
    for low in range(0, len(batch), size):
        rows, dense, observations_on = batch.rows[low : low + size].copy(), batch.dense, np.zeros(0, np.int64)
        ends = np.column_stack([rows["state_index"], rows["next_state_index"]]).reshape(-1)
        needed = boards_of_frames(batch.boards.entries["previous"], ends, batch.recipe.frames)
        order, places, boards_on = by_need(ends, needed)
        rows["state_index"], rows["next_state_index"] = places[::2], places[1::2]
        if dense is not None:
            ends = np.column_stack([dense.before[low : low + size], dense.after[low : low + size]]).reshape(-1)
            observations, places, observations_on = by_need(ends, np.unique(ends))
            dense = Dense(dense.observations[observations], places[::2].copy(), places[1::2].copy())
        part = replace(batch, rows=rows, boards=gather(batch.boards, order), dense=dense)
        yield Group(part, boards_on, observations_on)


def by_need(
    ends: npt.NDArray[np.int32], needed: npt.NDArray[np.integer[Any]]
) -> tuple[npt.NDArray[np.integer[Any]], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Sort items by the first row that needs them; items that are needed for stacked frames only go to the first row.

    Args:
        ends: (2 n,) the two items of each of n rows, those of a row one after another.
        needed: (m,) all items to keep, ascending; contains all of ``ends``.

    Returns:
        The sorted items, (m,); the new indices of ``ends``, (2 n,); and the row of each sorted item, (m,).
    """
    found = np.searchsorted(needed, ends)
    first = np.zeros(len(needed), np.int64)
    first[found[::-1]] = np.arange(len(ends))[::-1]  # the last value that is written stays
    order = np.argsort(first, kind="stable")
    places = np.empty(len(needed), np.int32)
    places[order] = np.arange(len(needed), dtype=np.int32)
    return needed[order], places[found], first[order] // 2


def checksum_of(part: ExperienceBatch, checksum: int) -> int:
    """Return the CRC-32 of all numbers of a part, continuing ``checksum``; checksums of pages do not cover their headers."""
    boards = part.boards
    arrays: list[Array] = [part.rows[name] for name in EXPERIENCE.names or ()]
    arrays += [boards.entries[name] for name in ENTRY.names or ()]
    arrays += [boards.players[name] for name in PLAYER.names or ()]
    arrays += [boards.games[name] for name in GROUND_COLUMNS]
    arrays += [boards.tiles, boards.terrain, boards.armies, boards.memory]
    if part.dense is not None:
        arrays += [part.dense.observations, part.dense.before, part.dense.after]
    for array in arrays:
        checksum = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, checksum)
    return checksum


# --- Reading ----------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> ExperienceBatch:
    """Return the batch of a file's content.

    Raises:
        ImportError: Without pyarrow (``pip install "generals_env[storage]"``).
        StorageError: If the content is damaged or of another format.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # A copy in memory of pyarrow: its threads release Python's bytes some time later, and a process that ends meanwhile is
        # aborted ("terminate called without an active exception").
        copied = pa.BufferOutputStream()
        copied.write(data)
        with parquet.ParquetFile(pa.BufferReader(copied.getvalue()), page_checksum_verification=True) as file:
            return read(file)
    except Exception as error:
        # Damaged bytes can make pyarrow, json and numpy raise many kinds of exceptions.
        raise StorageError(
            f"data: expected a file of experiences (schema {SCHEMA}), got {type(error).__name__}: {error}"
        ) from error


def read(file: Any) -> ExperienceBatch:
    """Return the batch of a Parquet file; invalid content may raise any exception."""
    metadata = file.metadata
    size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if size > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES} bytes, got {size}")
    text = metadata.metadata[HEADER]
    header = json.loads(text)
    if header["schema"] != SCHEMA:
        raise ValueError(f"schema {header['schema']}")
    if not all(isinstance(name, str) for name in header["game_ids"]):
        raise ValueError("game_ids: expected strings")
    height, width = map(int, header["shape"])
    kind = None if header["dense"] is None else np.dtype(header["dense"][0])
    shape = () if header["dense"] is None else tuple(map(int, header["dense"][1]))
    whole = ExperienceBatch(
        game_ids=tuple(header["game_ids"]),
        rows=np.zeros(0, EXPERIENCE),
        boards=empty_packed(0, height * width, int(header["players"])),
        shape=(height, width),
        recipe=Recipe.from_dict(header["recipe"]),
        dense=None if kind is None else Dense(np.empty((0, *shape), kind), np.zeros(0, np.int32), np.zeros(0, np.int32)),
        metadata=dict(header["metadata"]),
    )
    if not any(file.schema_arrow.equals(schema_of(whole, bool(header["memory"]), integer)) for integer in (False, True)):
        raise ValueError(f"expected columns of schema {SCHEMA}")
    checksum, parts = zlib.crc32(text), []
    for number in range(metadata.num_row_groups):
        part = batch_of(file.read_row_group(number), whole)
        checksum = checksum_of(part, checksum)
        parts.append(validate_arrays(part))
    if f"{checksum:08x}".encode() != metadata.metadata[CHECKSUM]:
        raise ValueError(f"expected numbers of checksum {metadata.metadata[CHECKSUM]!r}, got {checksum:08x}")
    return ExperienceBatch.concat(parts) if len(parts) > 1 else [validate_arrays(whole), *parts][-1]
