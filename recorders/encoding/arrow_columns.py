"""Encodes batches as Arrow tables and decodes them: the columns of Parquet files, see ``recorders.formats.parquet``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import GAME, PLAYER
from generals_env.engine.packed.packing import ENTRY, PackedBoards
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.dense_observations import Dense

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EVEN", "EVEN_OF_BOARDS", "GROUND_COLUMNS", "Group", "batch_of", "schema_of", "table_of"]

#: Columns that are stored as they are in ``EXPERIENCE``.
PLAIN = tuple(name for name in EXPERIENCE.names or () if name not in ("game", "collected_at"))

#: Columns that are delta-encoded, since their differences are small.
EVEN = ("sequence", "collected_at", "state_index", "next_state_index", "turn")
EVEN_OF_BOARDS = ("ground", "turn", "last_move", "previous")

#: Fields of ``GAME`` that are stored; the other ones follow from the shape of the batch.
GROUND_COLUMNS = ("rows", "columns", "version", "modifiers", "fog")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Group:
    """Experiences of a row group, with their boards in the order in which rows need them.

    Attributes:
        part: (n,) experiences.
        boards_on: (N,) int64, the row in whose list each board is: the first row that needs it.
        observations_on: (M,) int64, the same for dense observations; empty without them.
    """

    part: ExperienceBatch
    boards_on: npt.NDArray[np.int64]
    observations_on: npt.NDArray[np.int64]


# --- Writing ----------------------------------------------------------------------------------------------------------


def struct_of(dtype: np.dtype[np.void], names: tuple[str, ...]) -> list[pa.Field]:
    """Return Arrow fields for the fields of a structured dtype."""
    import pyarrow as pa

    kinds = {name: kind for name, (kind, *_) in (dtype.fields or {}).items()}
    return [pa.field(name, pa.from_numpy_dtype(kinds[name]), nullable=False) for name in names]


def schema_of(batch: ExperienceBatch, remembers: bool, integer_times: bool = False) -> pa.Schema:
    """Return the columns of a file with batches of this kind.

    Args:
        batch: The batch.
        remembers: Whether boards have the memory of players.
        integer_times: Whether ``collected_at`` is an integer instead of a timestamp.
    """
    import pyarrow as pa

    tiles = math.prod(batch.shape)
    board = [
        pa.field("tiles", pa.binary(2 * tiles), nullable=False),
        *struct_of(ENTRY, EVEN_OF_BOARDS),
        pa.field("armies", pa.binary()),  # 32-bit integers if an army is too large for its tile, else null
    ]
    if remembers:
        board.append(pa.field("memory", pa.binary(2 * batch.players * tiles), nullable=False))
    player = pa.struct(struct_of(PLAYER, PLAYER.names or ()))
    ground = [
        pa.field("terrain", pa.binary(tiles), nullable=False),
        *struct_of(GAME, GROUND_COLUMNS),
        pa.field("players", pa.list_(pa.field("element", player, nullable=False)), nullable=False),
    ]
    lists: dict[str, pa.DataType] = {"boards": pa.struct(board), "grounds": pa.struct(ground)}
    rows = [
        pa.field("game_id", pa.string(), nullable=False),
        pa.field("turn", pa.int32(), nullable=False),
        *struct_of(EXPERIENCE, PLAIN),
        pa.field("collected_at", pa.int64() if integer_times else pa.timestamp("ns", "UTC"), nullable=False),
    ]
    if batch.dense is not None:
        rows += [pa.field(name, pa.int32(), nullable=False) for name in ("before", "after")]
        lists["observations"] = pa.binary()
    rows += [
        pa.field(name, pa.list_(pa.field("element", kind, nullable=False)), nullable=False) for name, kind in lists.items()
    ]
    return pa.schema(rows)


def table_of(group: Group, schema: pa.Schema) -> pa.Table:
    """Return a row group as a table."""
    import pyarrow as pa

    return pa.Table.from_arrays(list(columns_of(group, schema)), schema=schema)


def columns_of(group: Group, schema: pa.Schema) -> Iterator[pa.Array]:
    """Yield the columns of a row group in the order of the schema."""
    import pyarrow as pa

    part, count = group.part, len(group.part)
    games, indices = np.unique(part.game, return_inverse=True)
    names = pa.array([part.game_ids[game] for game in games], pa.string())
    yield names.take(pa.array(indices))
    yield pa.array(part.turn)
    for name in PLAIN:
        yield pa.array(part.rows[name])
    yield pa.array(part.collected_at).cast(schema.field("collected_at").type)
    if part.dense is not None:
        yield pa.array(part.dense.before)
        yield pa.array(part.dense.after)
    kind = schema.field("boards").type
    yield lists(board_items(part.boards, kind.value_type), group.boards_on, kind, count)
    kind = schema.field("grounds").type
    first = np.unique(part.boards.entries["ground"], return_index=True)[1]  # grounds are in the order of their boards
    yield lists(ground_items(part.boards, kind.value_type), group.boards_on[first], kind, count)
    if part.dense is not None:
        kind = schema.field("observations").type
        yield lists(blobs(part.dense.observations, kind.value_type), group.observations_on, kind, count)


def lists(items: pa.Array, on: npt.NDArray[np.int64], kind: pa.ListType, count: int) -> pa.Array:
    """Return a list for each of ``count`` rows; ``on`` (n,) is the row of each item, ascending."""
    import pyarrow as pa

    ends = np.searchsorted(on, np.arange(count + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), items, type=kind)


def blobs(array: Array, kind: pa.DataType) -> pa.Array:
    """Return the rows of an array as binary values, of fixed or variable size."""
    import pyarrow as pa

    raw = np.ascontiguousarray(array)
    buffers = [None, pa.py_buffer(raw.reshape(-1).view(np.uint8))]
    if kind == pa.binary():
        size = raw[:1].nbytes if len(raw) else 0
        buffers.insert(1, pa.py_buffer(np.arange(len(raw) + 1, dtype=np.int32) * np.int32(size)))
    return pa.Array.from_buffers(kind, len(raw), buffers)


def board_items(boards: PackedBoards, kind: pa.StructType) -> pa.Array:
    """Return boards as structs."""
    import pyarrow as pa

    wide = boards.entries["wide"] >= 0
    ends = np.concatenate([[0], np.cumsum(wide) * boards.armies[:1].nbytes]).astype(np.int32)
    bits = np.packbits(wide, bitorder="little")
    armies = boards.armies[boards.entries["wide"][wide]].reshape(-1)
    items = [blobs(boards.tiles, kind.field("tiles").type), *(pa.array(boards.entries[name]) for name in EVEN_OF_BOARDS)]
    items.append(pa.Array.from_buffers(pa.binary(), len(wide), [pa.py_buffer(bits), pa.py_buffer(ends), pa.py_buffer(armies)]))
    if len(boards.memory):
        items.append(blobs(boards.memory, kind.field("memory").type))
    return pa.StructArray.from_arrays(items, fields=list(kind))


def ground_items(boards: PackedBoards, kind: pa.StructType) -> pa.Array:
    """Return grounds as structs."""
    import pyarrow as pa

    listed = kind.field("players").type
    seats = boards.players.reshape(-1)
    fields = [pa.array(np.ascontiguousarray(seats[name])) for name in PLAYER.names or ()]
    players = pa.StructArray.from_arrays(fields, fields=list(listed.value_type))
    ends = np.arange(len(boards.players) + 1, dtype=np.int32) * np.int32(boards.players.shape[1])
    items = [blobs(boards.terrain, kind.field("terrain").type)]
    items += [pa.array(np.ascontiguousarray(boards.games[name])) for name in GROUND_COLUMNS]
    items.append(pa.ListArray.from_arrays(pa.array(ends), players, type=listed))
    return pa.StructArray.from_arrays(items, fields=list(kind))


# --- Reading ----------------------------------------------------------------------------------------------------------


def batch_of(table: pa.Table, whole: ExperienceBatch) -> ExperienceBatch:
    """Return the experiences of a row group, not checked; ``whole`` is an empty batch with the shape, recipe and metadata."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    rows = np.zeros(len(table), EXPERIENCE)
    for name in PLAIN:
        rows[name] = numbers(columns[name])
    rows["collected_at"] = numbers(columns["collected_at"]).view(np.int64)
    places = {name: place for place, name in enumerate(whole.game_ids)}
    games = columns["game_id"].dictionary_encode()
    rows["game"] = np.array([places[name] for name in games.dictionary.to_pylist()], np.int32)[numbers(games.indices)]
    boards = boards_of(columns["boards"].flatten(), columns["grounds"].flatten(), whole)
    dense = whole.dense
    if dense is not None:
        observations = raw(columns["observations"].flatten(), dense.observations)
        dense = Dense(observations, numbers(columns["before"]), numbers(columns["after"]))
    return replace(whole, rows=rows, boards=boards, dense=dense)


def boards_of(items: pa.StructArray, grounds: pa.StructArray, whole: ExperienceBatch) -> PackedBoards:
    """Return the boards of structs."""
    none = whole.boards
    entries = np.zeros(len(items), ENTRY)
    for name in EVEN_OF_BOARDS:
        entries[name] = numbers(items.field(name))
    wide = numbers(items.field("armies").is_valid())
    entries["wide"] = np.where(wide, np.cumsum(wide) - 1, -1)
    seats = grounds.field("players").flatten()
    players = np.zeros(len(seats), PLAYER)
    for name in PLAYER.names or ():
        players[name] = numbers(seats.field(name))
    games = np.zeros(len(grounds), GAME)
    games["height"], games["width"] = whole.shape
    for name in GROUND_COLUMNS:
        games[name] = numbers(grounds.field(name))
    remembers = items.type.get_field_index("memory") >= 0
    return PackedBoards(
        tiles=raw(items.field("tiles"), none.tiles),
        entries=entries,
        terrain=raw(grounds.field("terrain"), none.terrain),
        players=players.reshape(len(grounds), whole.players),
        games=games,
        armies=raw(items.field("armies").drop_null(), none.armies),
        memory=raw(items.field("memory"), none.memory) if remembers else none.memory,
    )


def numbers(array: pa.Array) -> Array:
    """Return a column of numbers as a writable array."""
    column: Array = array.to_numpy(zero_copy_only=False, writable=True)
    return column


def raw(array: pa.Array, like: Array) -> Array:
    """Return binary values as an array with the dtype and row shape of ``like``; raise ``ValueError`` for another size."""
    shape, size = (len(array), *like.shape[1:]), like.itemsize * math.prod(like.shape[1:])
    *_, ends, data = array.buffers()
    start = array.offset * size
    if array.type.num_buffers == 3:  # of variable size
        edges = np.frombuffer(ends, np.int32, len(array) + 1, 4 * array.offset) if len(array) else np.zeros(1, np.int32)
        if (np.diff(edges) != size).any():
            raise ValueError(f"expected {size} bytes per value")
        start = int(edges[0])
    if math.prod(shape) == 0:
        return np.zeros(shape, like.dtype)
    return np.frombuffer(data, like.dtype, math.prod(shape), start).reshape(shape).copy()
