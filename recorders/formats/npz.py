"""Encodes batches as NPZ files, which numpy opens without pickle."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import GAME, OWNER_OBSERVATORY, PLAYER, Boards
from generals_env.engine.packed.packing import ENTRY, pack, packed_of, planes_of
from generals_env.errors import StorageError
from generals_env.recorders.encoding.byte_shuffle import MAX_BYTES, header_bytes
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.bounds_checks import validate_arrays
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe
from generals_env.version import __version__

__all__ = ["SCHEMA", "SUFFIX", "decode", "encode"]

SUFFIX = ".npz"

#: Version of the arrays in a file; older versions are read, too.
SCHEMA = 2

COLUMNS = {name: EXPERIENCE[name] for name in EXPERIENCE.names or ()}

#: Fields of ``ENTRY`` that are stored; ``wide`` follows from the armies.
BOARD_COLUMNS = ("ground", "turn", "last_move", "previous")

COMPRESSION_LEVEL = 1

MAX_LEVEL = 9  # of zlib


def encode(batch: ExperienceBatch, level: int | None = None) -> bytes:
    """Return the content of a file with a batch.

    Args:
        batch: The batch.
        level: Compression level, 1 to 22; those above 9 count as 9. ``COMPRESSION_LEVEL`` by default.

    Raises:
        ConfigError: If the metadata cannot be written as JSON.
    """
    file = io.BytesIO()
    write_arrays(file, batch_arrays(batch), COMPRESSION_LEVEL if level is None else min(level, MAX_LEVEL))
    return file.getvalue()


def decode(data: bytes) -> ExperienceBatch:
    """Return the batch of a file's content.

    Raises:
        StorageError: If the content is damaged or of another format.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MAX_BYTES:
                raise ValueError(f"expected at most {MAX_BYTES} bytes, got {size}")  # noqa: TRY301 - the handler adds the schema
            arrays = {name.removesuffix(".npy"): read_array(archive, name) for name in archive.namelist()}
        return check_batch(arrays)
    except Exception as error:
        # Damaged bytes can make zlib, zipfile and numpy raise many kinds of exceptions.
        raise StorageError(
            f"data: expected a file of experiences (schema {SCHEMA}), got {type(error).__name__}: {error}"
        ) from error


def batch_arrays(batch: ExperienceBatch) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file. Owners and armies are separate arrays, which are easier to read and compress better."""
    boards = batch.boards
    owner, army = planes_of(boards)
    if army.size and army.min() >= -(2**15) and army.max() < 2**15:
        army = army.astype(np.int16)
    header = {
        "schema": SCHEMA,
        "generals_env": __version__,
        "shape": batch.shape,
        "recipe": batch.recipe.to_dict(),
        "metadata": dict(batch.metadata),
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "header": np.array(header_bytes(header).decode()),
        "game_ids": np.array(batch.game_ids, np.str_),
        **{name: batch.rows[name] for name in COLUMNS},
        "owner": owner,
        "army": army,
        **{f"board_{name}": boards.entries[name] for name in BOARD_COLUMNS},
        "terrain": boards.terrain,
        "players": boards.players,
        "games": boards.games,
    }
    if len(boards.memory):
        arrays["memory"] = boards.memory
    if batch.dense is not None:
        arrays |= {f"dense_{item.name}": getattr(batch.dense, item.name) for item in fields(batch.dense)}
    return arrays


def write_arrays(file: Any, arrays: dict[str, npt.NDArray[Any]], level: int = COMPRESSION_LEVEL) -> None:
    """Write named arrays as ``numpy.savez_compressed`` does, at a faster level and with no time: equal arrays, equal bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy")  # with a constant time
            member.external_attr = 0o600 << 16
            archive.writestr(member, content.getvalue(), zipfile.ZIP_DEFLATED, level)


def read_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Return one array of a file."""
    # All bytes are read first, since zipfile compares checksums only at the end, and become the array: so a damaged shape in
    # the header cannot allocate more memory than there are bytes.
    file = io.BytesIO(archive.read(name))
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name}: expected an array of numpy's format 1.0")
    shape, by_columns, kind = np.lib.format.read_array_header_1_0(file)
    array = np.frombuffer(file.getbuffer()[file.tell() :], kind) if 0 not in shape else np.zeros(shape, kind)
    return array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)


def check_batch(arrays: dict[str, npt.NDArray[Any]]) -> ExperienceBatch:
    """Return a batch of the arrays; raise ``ValueError`` if they do not match (kernels do no bounds checks)."""
    header = json.loads(str(arrays["header"]))
    schema = header.get("schema")
    if schema == 1:
        return read_first_schema(arrays)
    if schema != SCHEMA:
        raise ValueError(f"schema {schema}")
    entries = np.zeros(len(arrays["board_turn"]), ENTRY)
    for name in BOARD_COLUMNS:
        checked(f"board_{name}", arrays[f"board_{name}"], np.int32, entries.shape)
        entries[name] = arrays[f"board_{name}"]
    owner, army, terrain = arrays["owner"], arrays["army"], arrays["terrain"]
    players, games = arrays["players"], arrays["games"]
    tiles, seats = owner.shape[1], players.shape[1]
    checked("owner", owner, np.int8, (len(entries), tiles))
    checked("army", army, np.int16 if army.dtype == np.int16 else np.int32, (len(entries), tiles))
    checked("terrain", terrain, np.int8, (len(games), tiles))
    players = checked("players", players, PLAYER, (len(games), seats))
    games = checked("games", games, GAME, (len(games),))
    check_owners(owner, seats)
    memory = arrays.get("memory", np.empty((0, seats, tiles), np.uint16))
    checked("memory", memory, np.uint16, (len(entries) if "memory" in arrays else 0, seats, tiles))
    rows = np.zeros(len(arrays["action"]), EXPERIENCE)
    for name, dtype in COLUMNS.items():
        rows[name] = checked(name, arrays[name], dtype, rows.shape)
    dense = None
    if "dense_observations" in arrays:
        dense = Dense(*(arrays[f"dense_{item.name}"] for item in fields(Dense)))
        for name in ("before", "after"):
            checked(f"dense_{name}", getattr(dense, name), np.int32, rows.shape)
    height, width = header["shape"]
    batch = ExperienceBatch(
        game_ids=names_of(arrays["game_ids"]),
        rows=rows,
        boards=packed_of(owner, army, entries, terrain, players, games, memory),
        shape=(int(height), int(width)),
        recipe=Recipe.from_dict(header["recipe"]),
        dense=dense,
        metadata=dict(header["metadata"]),
    )
    return validate_arrays(batch)


def read_first_schema(arrays: dict[str, npt.NDArray[Any]]) -> ExperienceBatch:
    """Return the batch of a file of schema 1, which has unpacked boards."""
    army = arrays["army"]
    if army.dtype not in (np.int16, np.int32):
        raise ValueError(f"army: expected integers of 16 or 32 bits, got {army.dtype}")
    boards = Boards(arrays["owner"], army.astype(np.int32), arrays["terrain"], arrays["players"], arrays["games"])
    count, tiles = boards.owner.shape
    seats = boards.players.shape[1]
    shapes = ((count, tiles), (count, tiles), (count, tiles), (count, seats), (count,))
    kinds: tuple[npt.DTypeLike, ...] = (np.int8, np.int32, np.int8, PLAYER, GAME)
    fields_of: tuple[npt.NDArray[Any], ...] = boards
    fitting = zip(Boards._fields, fields_of, kinds, shapes, strict=True)
    boards = Boards._make(checked(name, array, kind, shape) for name, array, kind, shape in fitting)
    check_owners(boards.owner, seats)
    rows = np.zeros(len(arrays["action"]), EXPERIENCE)
    for name, dtype in COLUMNS.items():
        rows[name] = checked(name, arrays[name], dtype, rows.shape) if name != "steps" else 1
    shape = (int(boards.games[0]["height"]), int(boards.games[0]["width"])) if count else (0, 0)
    return validate_arrays(ExperienceBatch(names_of(arrays["game_ids"]), rows, pack(boards), shape))


def checked(name: str, array: npt.NDArray[Any], dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return an array with an aligned dtype (files store it unaligned); raise ``ValueError`` for another dtype or shape."""
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(f"{name}: expected {np.dtype(dtype)} of {shape}, got {array.dtype} of {array.shape}")
    return array.view(dtype)


def check_owners(owner: npt.NDArray[np.int8], players: int) -> None:
    """Raise ``ValueError`` if an owner is not a valid code."""
    if owner.size and not (owner.min() >= OWNER_OBSERVATORY and owner.max() < players):
        raise ValueError(f"owner: expected codes from {OWNER_OBSERVATORY} to {players - 1}")


def names_of(game_ids: npt.NDArray[Any]) -> tuple[str, ...]:
    """Return the ids of games; raise ``ValueError`` if they are not strings."""
    if game_ids.ndim != 1 or game_ids.dtype.kind != "U":
        raise ValueError(f"game_ids: expected strings, got {game_ids.dtype}")
    return tuple(game_ids.tolist())
