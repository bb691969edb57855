"""Compares boards, and computes the checksums of the traces."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.conformance.engines import View
from generals_env.conformance.report import Difference

__all__ = ["board_bytes", "checksum", "compare_boards", "tile_difference", "totals"]


def board_bytes(view: View) -> bytes:
    """Return the bytes of which checksums are computed: owners as int8, armies as little-endian int32."""
    return view.owner.astype(np.int8).tobytes() + view.army.astype("<i4").tobytes()


def checksum(view: View, castles: bool = False) -> int:
    """Return the CRC-32 of a board; with ``castles``, of its castles as well (uint8)."""
    crc = zlib.crc32(board_bytes(view))
    return crc if not castles or view.castle is None else zlib.crc32(view.castle.tobytes(), crc)


def totals(view: View, players: int) -> tuple[list[int], list[int]]:
    """Return land and army of each player."""
    held = [view.owner == player for player in range(players)]
    return [int(tiles.sum()) for tiles in held], [int(view.army[tiles].sum()) for tiles in held]


def compare_boards(turn: int, width: int, expected: View, got: View, note: str = "") -> Difference | None:
    """Return the first tile, in order, in which two boards differ, and in what; None if they are equal.

    Castles are compared if both boards tell them.
    """
    parts: list[tuple[str, npt.NDArray[Any], npt.NDArray[Any]]] = [
        ("owner", expected.owner, got.owner),
        ("army", expected.army, got.army),
    ]
    if expected.castle is not None and got.castle is not None:
        parts.append(("castle", expected.castle, got.castle))
    found = [
        (int(np.argmax(unequal)), part) for part, unequal in ((part, part[1] != part[2]) for part in parts) if unequal.any()
    ]
    if not found:
        return None
    tile, (name, one, other) = min(found, key=lambda item: item[0])
    return tile_difference(turn, width, name, tile, one[tile], other[tile], note=note)


def tile_difference(
    turn: int, width: int, what: str, tile: int, expected: Any, got: Any, player: int | None = None, note: str = ""
) -> Difference:
    """Return a difference on a tile."""
    row, column = divmod(int(tile), width)
    return Difference(turn, what, expected, got, int(tile), row, column, player, note)
