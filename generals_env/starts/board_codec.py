"""Writes boards as text that JSON takes, and reads it again: ``StartBoards``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import GAME, MAX_PLAYERS, PLAYER, Boards
from generals_env.errors import ConfigError

__all__ = ["MAX_TILES", "StartBoards"]

#: Tiles of all boards together, at the most: 70,000 boards of 20x20 are 170 MB.
MAX_TILES = 28_000_000

HEADER = re.compile(r"([1-9][0-9]{0,8})x([1-9][0-9]?)x([1-9][0-9]?)x([1-9][0-9]?):", re.ASCII)


class StartBoards(str):
    """Boards as text, ``"COUNTxHEIGHTxWIDTHxPLAYERS:DATA"``: equal boards are equal texts, and JSON takes them.

    The data are base64 of the zlib-compressed arrays, little-endian: owners, armies, terrain, players, games.
    """

    __slots__ = ()

    @classmethod
    def of(cls, boards: Boards) -> Self:
        """Return boards as text; they must have valid shapes, see ``check_boards``."""
        count, players = boards.players.shape
        arrays: list[npt.NDArray[Any]] = [boards.owner, boards.army, boards.terrain]
        arrays += columns_of(boards.players) + columns_of(boards.games)
        data = zlib.compress(b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays))
        game = boards.games[0]
        return cls(f"{count}x{game['height']}x{game['width']}x{players}:{base64.b64encode(data).decode()}")

    def boards(self) -> Boards:
        """Return the boards.

        Raises:
            ConfigError: If this is not the text of boards.
        """
        header = HEADER.match(self)
        if header is None:
            raise ConfigError(f"start: expected boards as text, COUNTxHEIGHTxWIDTHxPLAYERS:DATA, got {str(self)!r:.80}")
        count, height, width, players = map(int, header.groups())
        if count * height * width > MAX_TILES or players > MAX_PLAYERS:
            raise ConfigError(
                f"start: expected at most {MAX_TILES} tiles and {MAX_PLAYERS} players, got {header[0][:-1]}: use fewer boards"
            )
        tiles = height * width
        shapes: list[tuple[tuple[int, ...], Any]] = [((count, tiles), kind) for kind in (np.int8, np.int32, np.int8)]
        shapes += [((count, players), PLAYER[name]) for name in PLAYER.names or ()]
        shapes += [((count,), GAME[name]) for name in GAME.names or ()]
        sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in shapes]
        data = decompressed(self[header.end() :], sum(sizes))
        arrays: list[npt.NDArray[Any]] = []
        place = 0
        for (shape, kind), size in zip(shapes, sizes, strict=True):
            part = np.frombuffer(data[place : place + size], np.dtype(kind).newbyteorder("<"))
            arrays.append(part.reshape(shape).astype(kind))
            place += size
        seats = np.zeros((count, players), PLAYER)
        games = np.zeros(count, GAME)
        for name, column in zip(PLAYER.names or (), arrays[3:], strict=False):
            seats[name] = column
        for name, column in zip(GAME.names or (), arrays[3 + len(PLAYER.names or ()) :], strict=True):
            games[name] = column
        return Boards(arrays[0], arrays[1], arrays[2], seats, games)

    def summary(self) -> dict[str, Any]:
        """Return the number of the boards and the digest of the text, which names them in metadata."""
        return {"boards": int(self.partition("x")[0]), "sha256": hashlib.sha256(self.encode()).hexdigest()}

    def __repr__(self) -> str:
        """Return the sizes without the data."""
        return f"<StartBoards {self.partition(':')[0]}>"


def columns_of(records: npt.NDArray[np.void]) -> list[npt.NDArray[Any]]:
    """Return the fields of records as arrays."""
    return [records[name] for name in records.dtype.names or ()]


def decompressed(text: str, size: int) -> bytes:
    """Return ``size`` bytes from base64 of zlib data; raise ``ConfigError`` if they are more, fewer or damaged."""
    try:
        reader = zlib.decompressobj()
        data = reader.decompress(base64.b64decode(text, validate=True), size + 1)
    except (ValueError, binascii.Error, zlib.error) as error:
        raise ConfigError(f"start: expected base64 of compressed boards, got {text!r:.80} ({error})") from None
    if len(data) != size or not reader.eof:
        raise ConfigError(f"start: expected {size} bytes of boards, got {'more' if len(data) > size else len(data)}")
    return data
