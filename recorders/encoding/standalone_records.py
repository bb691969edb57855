"""Experiences each on its own, without loss: a header, and pieces of the arrays of its batch with their numbers there.

Whoever has the header and the pieces of some experiences, in any order, has a batch of them; a board of which many hold a
piece is one board again. All pieces of an experience:

- ``row``: its record of ``EXPERIENCE``, and the numbers of its observations (-1 where boards tell them).
- ``game_id``: the name of its game, UTF-8.
- ``boards``: those before and after the turn and the ones before these, as far back as observations are made of them.
- ``grounds``, ``armies``: what ``PackedBoards`` has of these boards.
- ``observations``: where wrappers of others made them.
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
from generals_env.recorders.experience.dense import Dense
from generals_env.recorders.experience.integrity import validate_arrays
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.stacked_frames import frames_back

__all__ = ["PIECES", "SCHEMA", "Source", "closed", "fields_of", "header_of"]

#: Version of header and pieces.
SCHEMA = 1

PIECES = ("row", "game_id", "boards", "grounds", "armies", "observations")

ROW = np.dtype([("experience", EXPERIENCE), ("before", np.int32), ("after", np.int32)])

Array = npt.NDArray[Any]
Table = dict[str, Array]


def reached(batch: ExperienceBatch) -> Array:
    """Return the boards of each experience, (n, k) int32, -1 where there is none."""
    previous = batch.boards.entries["previous"]
    frames = max(batch.recipe.frames, 2)  # also without stacked frames, the link of a board to the one before it is kept
    ends = (batch.state_index, batch.next_state_index)
    return np.stack([boards for end in ends for boards in frames_back(previous, end, frames)], axis=1)


def closed(batch: ExperienceBatch) -> ExperienceBatch:
    """Return the batch with the boards of which its experiences have pieces, and no others."""
    boards = reached(batch)
    needed = np.unique(boards[boards >= 0])
    rows = batch.rows.copy()
    for name in ("state_index", "next_state_index"):
        rows[name] = np.searchsorted(needed, rows[name])
    dense = batch.dense.copied() if batch.dense is not None else None
    return replace(batch, rows=rows, boards=gather(batch.boards, needed), dense=dense)


def header_of(batch: ExperienceBatch) -> bytes:
    """Return what all experiences of a batch have in common; no other batch has the same.

    Raises:
        ConfigError: If the metadata are not what JSON takes.
    """
    digest, dense = hashlib.blake2b(json.dumps(batch.game_ids).encode(), digest_size=16), None
    arrays: tuple[Array, ...] = (batch.rows, *batch.boards)
    for array in arrays:
        for column in [array[name] for name in array.dtype.names or ()] or [array]:  # what lies between them means nothing
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
    """Return the arrays of which experiences have pieces, by piece and field."""
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
    """Return the dtype of a row of a table with its number."""
    return np.dtype([("number", np.int32), *((name, array.dtype, array.shape[1:]) for name, array in table.items())])


def fields_of(batch: ExperienceBatch) -> dict[str, list[bytes]]:
    """Return all pieces of each experience of a slice of a ``closed`` batch: n of each name."""
    boards, entries = reached(batch), batch.boards.entries
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
    """Return for each experience the rows of a table that it needs; ``numbers`` is (n, k), -1 for none."""
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


def places(numbers: Array, wanted: Array) -> Array:
    """Return where ``wanted`` lie among ascending ``numbers``; raise ``ValueError`` if one does not."""
    found = np.searchsorted(numbers, wanted)
    if not np.isin(wanted, numbers).all():
        raise ValueError("references to what is not there")
    return found


class Source:
    """What is known of one batch from its header and the pieces of some of its experiences.

    Attributes:
        order: What each experience was added as.
    """

    def __init__(self, header: bytes) -> None:
        """Begin with a header; one that is damaged raises anything."""
        fields = json.loads(header)
        if fields["schema"] != SCHEMA:
            raise ValueError(f"schema {fields['schema']}")
        height, width = map(int, fields["shape"])
        dense = None
        if fields["dense"] is not None:
            kind, shape = fields["dense"]
            nobody = np.empty(0, np.int32)
            dense = Dense(np.empty((0, *map(int, shape)), np.dtype(kind)), nobody, nobody)
        remembers = bool(fields["remembers"])
        boards = empty_packed(0, height * width, int(fields["players"]), remembers=remembers)
        self._nothing = ExperienceBatch(
            game_ids=(),
            rows=np.empty(0, EXPERIENCE),
            boards=boards,
            shape=(height, width),
            recipe=Recipe.from_dict(fields["recipe"]),
            dense=dense,
            metadata=dict(fields["metadata"]),
        )
        self._kinds = {name: kind_of(table) for name, table in tables_of(boards, dense, remembers).items()} | {"row": ROW}
        self._parts: dict[str, list[bytes]] = {name: [] for name in self._kinds}
        self._names: dict[int, str] = {}
        self.order: list[int] = []

    def add(self, number: int, pieces: Mapping[str, bytes]) -> int:
        """Add an experience as ``number`` and return its bytes; pieces that are damaged raise anything."""
        parts = {name: pieces[name] for name in self._kinds}
        for name, part in parts.items():
            if len(part) % self._kinds[name].itemsize or (name == "row" and len(part) != ROW.itemsize):
                raise ValueError(f"{name} of {len(part)} bytes")
        for name, part in parts.items():
            self._parts[name].append(part)
        game = int(np.frombuffer(parts["row"], ROW)["experience"]["game"][0])
        self._names[game] = pieces["game_id"].decode("utf-8", "surrogatepass")
        self.order.append(number)
        return sum(map(len, parts.values()))

    def add_games(self, names: bytes) -> None:
        """Add the names of all games, a list in JSON, those without experiences included."""
        self._names |= dict(enumerate(map(str, json.loads(names))))

    def batch(self) -> ExperienceBatch:
        """Return all experiences as they were added; raise anything if their pieces do not fit together."""
        found: dict[str, Array] = {}
        for name, kind in self._kinds.items():
            found[name] = np.frombuffer(b"".join(self._parts[name]), kind)
            if name != "row":
                found[name] = found[name][np.unique(found[name]["number"], return_index=True)[1]]
        rows, boards, grounds = found["row"]["experience"].copy(), found["boards"], found["grounds"]
        games = sorted(self._names)
        rows["game"] = places(np.array(games), rows["game"])
        for name in ("state_index", "next_state_index"):
            rows[name] = places(boards["number"], rows[name])
        entries = boards["entry"].copy()
        entries["ground"] = places(grounds["number"], entries["ground"])
        wide, known = entries["wide"] >= 0, np.isin(entries["previous"], boards["number"])
        entries["wide"][wide] = places(found["armies"]["number"], entries["wide"][wide])
        entries["previous"][known] = places(boards["number"], entries["previous"][known])
        entries["previous"][~known] = -1
        blank, dense = self._nothing.boards, self._nothing.dense
        # Copies, as fields of records lie at places where kernels would be compiled once more for them.
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
            before, after = (places(seen["number"], found["row"][name]).astype(np.int32) for name in ("before", "after"))
            dense = Dense(seen["observation"].copy(), before, after)
        names = tuple(self._names[game] for game in games)
        return validate_arrays(replace(self._nothing, game_ids=names, rows=rows, boards=packed, dense=dense))
