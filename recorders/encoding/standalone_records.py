"""Encodes each experience as a record of its own, without loss, and assembles batches from records in any order.

A record has a header, which is the same for all records of a batch, and fields with rows of the arrays of the batch and their
row numbers. A board that several records contain becomes one board again. The fields:

- ``row``: the row of ``EXPERIENCE``, and the row numbers of dense observations (-1 without them).
- ``game_id``: the id of the game, UTF-8.
- ``boards``: the boards before and after the turn, and those before them, as many as frames are stacked.
- ``grounds``, ``armies``: the rows of ``PackedBoards`` that these boards refer to.
- ``observations``: dense observations, if there are any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import PackedBoards, empty_packed
from generals_env.recorders.encoding.byte_shuffle import header_bytes
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.bounds_checks import validate_arrays
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.stacked_frames import frames_back

__all__ = ["FIELDS", "SCHEMA", "RecordAssembler", "closed", "fields_of", "header_of"]

#: Version of header and fields.
SCHEMA = 1

FIELDS = ("row", "game_id", "boards", "grounds", "armies", "observations")

ROW = np.dtype([("experience", EXPERIENCE), ("before", np.int32), ("after", np.int32)])

Array = npt.NDArray[Any]
Table = dict[str, Array]


def boards_in_records(batch: ExperienceBatch) -> Array:
    """Return the boards in the record of each experience, (n, k) int32, -1 before the first board of a game."""
    previous = batch.boards.entries["previous"]
    frames = max(batch.recipe.frames, 2)  # also without stacked frames, the link of a board to the one before it is kept
    ends = (batch.state_index, batch.next_state_index)
    return np.stack([boards for end in ends for boards in frames_back(previous, end, frames)], axis=1)


def closed(batch: ExperienceBatch) -> ExperienceBatch:
    """Return the batch with exactly the boards that its records contain."""
    boards = boards_in_records(batch)
    needed = np.unique(boards[boards >= 0])
    rows = batch.rows.copy()
    for name in ("state_index", "next_state_index"):
        rows[name] = np.searchsorted(needed, rows[name])
    dense = batch.dense.copied() if batch.dense is not None else None
    return replace(batch, rows=rows, boards=gather(batch.boards, needed), dense=dense)


def header_of(batch: ExperienceBatch) -> bytes:
    """Return the header of the records of a batch, which contains a digest of the batch.

    Raises:
        ConfigError: If the metadata cannot be written as JSON.
    """
    digest, dense = hashlib.blake2b(json.dumps(batch.game_ids).encode(), digest_size=16), None
    arrays: tuple[Array, ...] = (batch.rows, *batch.boards)
    for array in arrays:
        for column in [array[name] for name in array.dtype.names or ()] or [array]:  # without the padding between fields
            digest.update(column.tobytes())
    if batch.dense is not None:
        digest.update(batch.dense.observations.tobytes())
        dense = [batch.dense.observations.dtype.str, batch.dense.observations.shape[1:]]
    header = {
        "schema": SCHEMA,
        "batch": digest.hexdigest(),
        "shape": batch.shape,
        "players": batch.players,
        "remembers": len(batch.boards.memory) > 0,
        "dense": dense,
        "recipe": batch.recipe.to_dict(),
        "metadata": dict(batch.metadata),
    }
    return header_bytes(header)


def tables_of(boards: PackedBoards, dense: Dense | None, remembers: bool) -> dict[str, Table]:
    """Return the arrays whose rows records contain, by field of the record and column."""
    tables: dict[str, Table] = {
        "boards": {"entry": boards.entries, "tiles": boards.tiles},
        "grounds": {"terrain": boards.terrain, "players": boards.players, "game": boards.games},
        "armies": {"army": boards.armies},
    }
    if remembers:
        tables["boards"]["memory"] = boards.memory
    if dense is not None:
        tables["observations"] = {"observation": dense.observations}
    return tables


def kind_of(table: Table) -> np.dtype[np.void]:
    """Return the dtype of a row of a table with its row number."""
    return np.dtype([("number", np.int32), *((name, array.dtype, array.shape[1:]) for name, array in table.items())])


def fields_of(batch: ExperienceBatch) -> dict[str, list[bytes]]:
    """Return the fields of the records of a slice of a ``closed`` batch: n values of each field."""
    boards, entries = boards_in_records(batch), batch.boards.entries
    needed = {"boards": boards}
    for name, column in {"grounds": "ground", "armies": "wide"}.items():
        needed[name] = np.where(boards >= 0, entries[column][boards], -1)
    rows = np.zeros(len(batch), ROW)
    rows["experience"], rows["before"], rows["after"] = batch.rows, -1, -1
    if batch.dense is not None:
        rows["before"], rows["after"] = batch.dense.before, batch.dense.after
        needed["observations"] = np.stack([batch.dense.before, batch.dense.after], axis=1)
    tables = tables_of(batch.boards, batch.dense, len(batch.boards.memory) > 0)
    found = {name: cut(table, needed[name]) for name, table in tables.items()}
    names = [name.encode("utf-8", "surrogatepass") for name in batch.game_ids]
    return found | {"row": [row.tobytes() for row in rows], "game_id": [names[game] for game in batch.game.tolist()]}


def cut(table: Table, numbers: Array) -> list[bytes]:
    """Return the bytes of the rows of a table that each record contains; ``numbers`` is (n, k), -1 for none."""
    ordered = np.sort(numbers, axis=1)
    wanted = ordered >= 0
    wanted[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    rows = np.zeros(int(wanted.sum()), kind_of(table))
    rows["number"] = ordered[wanted]
    for name, array in table.items():
        rows[name] = array[rows["number"]]
    data = rows.tobytes()
    ends = np.cumsum(wanted.sum(axis=1)) * rows.itemsize
    return [data[low:high] for low, high in pairwise((0, *ends.tolist()))]


def indices_in(numbers: Array, wanted: Array) -> Array:
    """Return the indices of ``wanted`` in ascending ``numbers``; raise ``ValueError`` if one is missing."""
    found = np.searchsorted(numbers, wanted)
    if not np.isin(wanted, numbers).all():
        raise ValueError("references to missing rows")
    return found


class RecordAssembler:
    """Assembles a batch from the records of some of its experiences.

    Attributes:
        order: The number of each record, in the order in which they were added.
    """

    def __init__(self, header: bytes) -> None:
        """Start with a header; a damaged one may raise any exception."""
        header_fields = json.loads(header)
        if header_fields["schema"] != SCHEMA:
            raise ValueError(f"schema {header_fields['schema']}")
        height, width = map(int, header_fields["shape"])
        dense = None
        if header_fields["dense"] is not None:
            kind, shape = header_fields["dense"]
            empty = np.empty(0, np.int32)
            dense = Dense(np.empty((0, *map(int, shape)), np.dtype(kind)), empty, empty)
        remembers = bool(header_fields["remembers"])
        boards = empty_packed(0, height * width, int(header_fields["players"]), remembers=remembers)
        self._empty = ExperienceBatch(
            game_ids=(),
            rows=np.empty(0, EXPERIENCE),
            boards=boards,
            shape=(height, width),
            recipe=Recipe.from_dict(header_fields["recipe"]),
            dense=dense,
            metadata=dict(header_fields["metadata"]),
        )
        self._kinds = {name: kind_of(table) for name, table in tables_of(boards, dense, remembers).items()} | {"row": ROW}
        self._parts: dict[str, list[bytes]] = {name: [] for name in self._kinds}
        self._names: dict[int, str] = {}
        self.order: list[int] = []

    def add(self, number: int, fields: Mapping[str, bytes]) -> int:
        """Add record ``number`` and return the size of its fields; damaged ones may raise any exception."""
        parts = {name: fields[name] for name in self._kinds}
        for name, part in parts.items():
            if len(part) % self._kinds[name].itemsize or (name == "row" and len(part) != ROW.itemsize):
                raise ValueError(f"{name} of {len(part)} bytes")
        for name, part in parts.items():
            self._parts[name].append(part)
        game = int(np.frombuffer(parts["row"], ROW)["experience"]["game"][0])
        self._names[game] = fields["game_id"].decode("utf-8", "surrogatepass")
        self.order.append(number)
        return sum(map(len, parts.values()))

    def add_games(self, names: bytes) -> None:
        """Add the ids of all games of the batch, a JSON list, also of games without experiences."""
        self._names |= dict(enumerate(map(str, json.loads(names))))

    def batch(self) -> ExperienceBatch:
        """Return the experiences in the order in which they were added; invalid records may raise any exception."""
        found: dict[str, Array] = {}
        for name, kind in self._kinds.items():
            found[name] = np.frombuffer(b"".join(self._parts[name]), kind)
            if name != "row":
                found[name] = found[name][np.unique(found[name]["number"], return_index=True)[1]]
        rows, boards, grounds = found["row"]["experience"].copy(), found["boards"], found["grounds"]
        games = sorted(self._names)
        rows["game"] = indices_in(np.array(games), rows["game"])
        for name in ("state_index", "next_state_index"):
            rows[name] = indices_in(boards["number"], rows[name])
        entries = boards["entry"].copy()
        entries["ground"] = indices_in(grounds["number"], entries["ground"])
        wide, known = entries["wide"] >= 0, np.isin(entries["previous"], boards["number"])
        entries["wide"][wide] = indices_in(found["armies"]["number"], entries["wide"][wide])
        entries["previous"][known] = indices_in(boards["number"], entries["previous"][known])
        entries["previous"][~known] = -1
        blank, dense = self._empty.boards, self._empty.dense
        # Copies, since kernels would be compiled again for the unaligned fields of records.
        packed = PackedBoards(
            tiles=boards["tiles"].copy(),
            entries=entries,
            terrain=grounds["terrain"].copy(),
            players=grounds["players"].copy(),
            games=grounds["game"].copy(),
            armies=found["armies"]["army"].copy(),
            memory=boards["memory"].copy() if "memory" in (boards.dtype.names or ()) else blank.memory,
        )
        if dense is not None:
            seen = found["observations"]
            before, after = (indices_in(seen["number"], found["row"][name]).astype(np.int32) for name in ("before", "after"))
            dense = Dense(seen["observation"].copy(), before, after)
        names = tuple(self._names[game] for game in games)
        return validate_arrays(replace(self._empty, game_ids=names, rows=rows, boards=packed, dense=dense))
