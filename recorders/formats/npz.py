"""Batches as NPZ files: numpy opens them without pickle, and nothing appears before it is whole."""

from __future__ import annotations

import json
import os
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env import __version__
from generals_env.engine.boards import GAME, PLAYER, Boards
from generals_env.errors import StateError, StorageError
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["SCHEMA", "NpzWriter", "read_npz"]

#: Version of the arrays in a file.
SCHEMA = 1

COLUMNS = {
    "game": np.int32,
    "player_id": np.int8,
    "sequence": np.int64,
    "action": np.int32,
    "illegal": np.bool_,
    "reward": np.float32,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "collected_at": np.int64,
    "state_index": np.int32,
    "next_state_index": np.int32,
}

COMPRESSION_LEVEL = 1

MOST_BYTES = 2**30  # of a file, uncompressed: our own have a few million


class NpzWriter:
    """A sink that writes each batch to a file of its own: ``experiences_000000.npz`` and so on.

    A folder that holds files already is added to.
    """

    def __init__(self, folder: str | Path) -> None:
        """Write to ``folder``, which is made if it is not there.

        Raises:
            StorageError: If the folder cannot be made or written.
        """
        try:
            self.folder = Path(folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except (OSError, ValueError) as error:  # a null byte is a ValueError
            raise StorageError(f"sink: expected a folder that can be written, got {str(folder)!r} ({error})") from error
        numbers = [int(path.stem[len("experiences_") :]) for path in dataset_files(self.folder)]
        self._next = max(numbers, default=-1) + 1
        self._closed = False

    def write(self, batch: ExperienceBatch) -> None:
        """Write ``batch`` to a new file.

        Raises:
            StateError: After ``close``.
            StorageError: If it cannot be written; nothing half-written stays.
        """
        if self._closed:
            raise StateError("write: expected an open writer, got one that is closed")
        unfinished = self.folder / f".{uuid.uuid4().hex}.part"
        try:
            with unfinished.open("wb") as file:
                write_arrays(file, batch_arrays(batch))
                file.flush()
                os.fsync(file.fileno())
            while not publish(unfinished, self.folder / f"experiences_{self._next:06d}.npz"):
                self._next += 1  # somebody else writes to the same folder
        except OSError as error:
            raise StorageError(f"sink: expected to write to {str(self.folder)!r}, got {error}") from error
        finally:
            unfinished.unlink(missing_ok=True)
        self._next += 1

    def flush(self) -> None:
        """Do nothing: every batch is on disk when ``write`` returns."""

    def close(self) -> None:
        """Take no more."""
        self._closed = True


def publish(unfinished: Path, path: Path) -> bool:
    """Give a whole file its name, at once; return False if there is a file of that name."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        unfinished.replace(path)
    return True


def dataset_files(folder: Path) -> list[Path]:
    """Return the files of a folder in the order in which they were written."""
    files = [path for path in folder.glob("experiences_*.npz") if path.stem[len("experiences_") :].isdecimal()]
    return sorted(files, key=lambda path: int(path.stem[len("experiences_") :]))


def batch_arrays(batch: ExperienceBatch) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file. Armies take the narrowest integers that hold them."""
    army = batch.boards.army
    if army.size and army.min() >= -(2**15) and army.max() < 2**15:
        army = army.astype(np.int16)
    header = {"schema": SCHEMA, "generals_env": __version__}
    return {
        "header": np.array(json.dumps(header)),
        "game_ids": np.array(batch.game_ids, np.str_),
        **{name: getattr(batch, name) for name in COLUMNS},
        **batch.boards._asdict(),
        "army": army,
    }


def write_arrays(file: Any, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write named arrays as ``numpy.savez_compressed`` does, at a faster level."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION_LEVEL) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(path: Path) -> ExperienceBatch:
    """Return the batch in a file.

    Raises:
        StorageError: If the file cannot be read, is damaged, or is not ours.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
            if size > MOST_BYTES:
                raise ValueError(f"expected at most {MOST_BYTES} bytes, got {size}")  # noqa: TRY301 - told with the others
            arrays = {name.removesuffix(".npy"): read_array(archive, name) for name in archive.namelist()}
        return check_batch(arrays)
    except Exception as error:
        # A damaged file can make zlib, zipfile and numpy raise nearly anything.
        raise StorageError(
            f"path: expected a file of experiences (schema {SCHEMA}), got {str(path)!r} ({type(error).__name__}: {error})"
        ) from error


def read_array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Return one array of a file."""
    with archive.open(name) as member:
        array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array


def check_batch(arrays: dict[str, npt.NDArray[Any]]) -> ExperienceBatch:
    """Return a batch of the arrays; raise ``ValueError`` unless they fit together (kernels do not check)."""
    schema = json.loads(str(arrays["header"])).get("schema")
    if schema != SCHEMA:
        raise ValueError(f"schema {schema}")
    army = arrays["army"]
    if army.dtype not in (np.int16, np.int32):
        raise ValueError(f"army: expected integers of 16 or 32 bits, got {army.dtype}")
    boards = Boards(arrays["owner"], army.astype(np.int32), arrays["terrain"], arrays["players"], arrays["games"])
    count, tiles = boards.owner.shape
    players = boards.players.shape[1]
    dtypes = (np.int8, np.int32, np.int8, PLAYER, GAME)
    shapes = ((count, tiles), (count, tiles), (count, tiles), (count, players), (count,))
    fields: tuple[npt.NDArray[Any], ...] = boards
    for name, field, dtype, shape in zip(Boards._fields, fields, dtypes, shapes, strict=True):
        if field.dtype != dtype or field.shape != shape:
            raise ValueError(f"{name}: expected {dtype} of {shape}, got {field.dtype} of {field.shape}")
    columns = {name: arrays[name] for name in COLUMNS}
    length = len(columns["action"])
    for name, column in columns.items():
        if column.dtype != COLUMNS[name] or column.shape != (length,):
            raise ValueError(f"{name}: expected {COLUMNS[name].__name__} of {(length,)}, got {column.dtype} of {column.shape}")
    limits = {"game": len(arrays["game_ids"]), "player_id": players, "state_index": count, "next_state_index": count}
    for name, limit in limits.items():
        if length and not (columns[name].min() >= 0 and columns[name].max() < limit):
            raise ValueError(f"{name}: expected indices below {limit}")
    games = boards.games
    height, width = (games[0]["height"], games[0]["width"]) if count else (0, 0)
    same = (games["height"] == height) & (games["width"] == width)
    inside = (games["rows"] > 0) & (games["rows"] <= height) & (games["columns"] > 0) & (games["columns"] <= width)
    if not (same & inside).all() or height * width != tiles or (boards.owner >= players).any():
        raise ValueError("boards: expected sizes and owners that fit the arrays")
    action = columns["action"]
    if length and not (action.min() >= 0 and action.max() <= 8 * tiles and np.isfinite(columns["reward"]).all()):
        raise ValueError(f"action, reward: expected indices up to {8 * tiles} and finite numbers")
    if arrays["game_ids"].ndim != 1 or arrays["game_ids"].dtype.kind != "U":
        raise ValueError(f"game_ids: expected strings, got {arrays['game_ids'].dtype}")
    return ExperienceBatch(game_ids=tuple(arrays["game_ids"].tolist()), boards=boards, **columns)
