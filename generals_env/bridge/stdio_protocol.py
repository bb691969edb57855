"""Writes and reads the lines that the competition and its programs exchange over pipes (rules F24 to F27).

The engine sends ``player H W`` once, and before each turn a frame: ``time own_land own_army other_land other_army``, then H
lines of W numbers each for kinds, owners and armies. The program answers each frame with ``pass row column direction split``.
When the game is over, its input ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import CITY, GENERAL, NEUTRAL, Boards
from generals_env.errors import ActionError, StateError

__all__ = [
    "MAX_REPLY",
    "Frame",
    "Handshake",
    "LineReader",
    "encode_frame",
    "encode_handshake",
    "encode_reply",
    "parse_reply",
    "read_frame",
    "read_handshake",
]

#: Bytes of the longest line of a reply, and of a frame.
MAX_REPLY = 256
MAX_LINE = 16 * 1024
MAX_SIDE = 64
MAX_NUMBER = 2**31 - 1

# Kinds of tiles in a frame.
FOG, SEEN_PLAIN, SEEN_MOUNTAIN, SEEN_CASTLE, SEEN_GENERAL, FOG_OBSTACLE = range(6)

ZERO, SPACE, NEWLINE = b"0 \n"

Grid = npt.NDArray[np.int64]


class LineReader(Protocol):
    """A binary stream, as ``sys.stdin.buffer``."""

    def readline(self, size: int, /) -> bytes:
        """Return a line of at most ``size`` bytes, empty at the end."""


class Handshake(NamedTuple):
    """The first line of a game: the player's number, 0 or 1, and the size of the board."""

    player: int
    height: int
    width: int


class Frame(NamedTuple):
    """What a player is told before a turn.

    Attributes:
        time: Turns played.
        land: Tiles of the player and of the other, also out of sight.
        army: Armies, likewise.
        kind: (H, W) int64: 0 fog, 1 plain, 2 mountain, 3 castle, 4 general, 5 mountain or castle in fog.
        owner: (H, W) int64: 0 neutral, mountain or fog, 1 the player, 2 the other.
        armies: (H, W) int64, 0 in fog.
    """

    time: int
    land: tuple[int, int]
    army: tuple[int, int]
    kind: Grid
    owner: Grid
    armies: Grid


def encode_handshake(player: int, height: int, width: int) -> bytes:
    """Return the first line for a player."""
    return b"%d %d %d\n" % (player, height, width)


def encode_frame(boards: Boards, b: int, player: int) -> bytes:
    """Return the frame of board ``b`` for a player, its padding left out.

    Args:
        boards: Boards of two players.
        b: Which of them.
        player: 0 or 1.
    """
    game = boards.games[b]
    shape = int(game["height"]), int(game["width"])
    rows, columns = int(game["rows"]), int(game["columns"])
    owner, army, terrain = (field[b].reshape(shape)[:rows, :columns] for field in boards[:3])
    own, other = owner == player, owner == 1 - player
    visible = near(own)
    mountain, castle = owner < NEUTRAL, terrain == CITY
    seen = 1 + mountain + 2 * castle + 3 * (terrain == GENERAL)
    kind = np.where(visible, seen, FOG_OBSTACLE * (mountain | castle))
    holder = (own + 2 * other) * visible
    head = (int(game["turn"]), own.sum(), army[own].sum(), other.sum(), army[other].sum())
    shown = (army * (visible & ~mountain)).tolist()
    armies = "\n".join([" ".join(map(str, row)) for row in shown])
    return b"%d %d %d %d %d\n%s%s%s\n" % (*head, digits(kind), digits(holder), armies.encode())


def near(tiles: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the tiles whose 3x3 neighbourhood has one of ``tiles`` (H, W)."""
    result = tiles.copy()
    result[1:] |= tiles[:-1]
    result[:-1] |= tiles[1:]
    columns = result.copy()
    result[:, 1:] |= columns[:, :-1]
    result[:, :-1] |= columns[:, 1:]
    return result


def digits(values: npt.NDArray[np.integer]) -> bytes:
    """Return lines of numbers below 10."""
    text = np.full((len(values), 2 * values.shape[1]), SPACE, np.uint8)
    text[:, ::2] = values + ZERO
    text[:, -1] = NEWLINE
    return text.tobytes()


def encode_reply(action: Sequence[int]) -> bytes:
    """Return the line that answers a frame, from pass, row, column, direction and split."""
    return b"%d %d %d %d %d\n" % tuple(action)


def parse_reply(line: bytes) -> tuple[int, int, int, int, int]:
    """Return pass, row, column, direction and split of a program's line, without or with its end.

    Raises:
        ActionError: If it is anything but five integers of 32 bits.
    """
    numbers = integers(line) if len(line) <= MAX_REPLY else None
    if numbers is None or len(numbers) != 5 or any(abs(number) > MAX_NUMBER for number in numbers):
        raise ActionError(f"reply: expected five integers, 'pass row column direction split', got {line[:80]!r}")
    first, row, column, direction, split = numbers
    return first, row, column, direction, split


def read_handshake(lines: LineReader) -> Handshake | None:
    """Read the first line of a game; None if the stream has ended.

    Raises:
        StateError: If the line is another one.
    """
    numbers = read_numbers(lines, 1, "the first line", "'player height width'", 3)
    if numbers is None:
        return None
    player, height, width = numbers
    if player not in (0, 1) or not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise StateError(
            f"line 1: expected player 0 or 1 and a board of at most {MAX_SIDE}x{MAX_SIDE}, got {player} {height} {width}"
        )
    return Handshake(player, height, width)


def read_frame(lines: LineReader, height: int, width: int, first_line: int = 1) -> Frame | None:
    """Read a frame; None if the stream has ended before it.

    Args:
        lines: The stream.
        height: H.
        width: W.
        first_line: Number of the frame's first line, for messages.

    Raises:
        StateError: If a line is malformed, too long or missing.
    """
    head = read_numbers(lines, first_line, "a frame", "'time own_land own_army other_land other_army'", 5)
    if head is None:
        return None
    raw = [lines.readline(MAX_LINE) for _ in range(3 * height)]
    planes = parse_planes(raw, height, width)
    if planes is None or not is_frame(planes):
        raise wrong_line(raw, height, width, first_line + 1)
    time, own_land, own_army, other_land, other_army = head
    kind, owner, armies = planes
    return Frame(time, (own_land, other_land), (own_army, other_army), kind, owner, armies)


def parse_planes(raw: Sequence[bytes], height: int, width: int) -> Grid | None:
    """Return the lines of a frame as (3, H, W), or None if one is malformed."""
    words = [line.split() for line in raw]
    if any(len(row) != width for row in words):
        return None
    try:
        return np.array([list(map(int, row)) for row in words], np.int64).reshape(3, height, width)
    except (ValueError, OverflowError):
        return None


def is_frame(planes: Grid) -> bool:
    """Return whether kinds, owners and armies are in range."""
    low, high = planes.min(axis=(1, 2)), planes.max(axis=(1, 2))
    return bool((low >= 0).all() and high[0] <= FOG_OBSTACLE and high[1] <= 2 and high[2] <= MAX_NUMBER)


def wrong_line(raw: Sequence[bytes], height: int, width: int, first_line: int) -> StateError:
    """Return the error for the first malformed line of a frame."""
    limits = (FOG_OBSTACLE, 2, MAX_NUMBER)
    for i, line in enumerate(raw):
        plane = i // height
        numbers = integers(line)
        if numbers is None or len(numbers) != width or min(numbers) < 0 or max(numbers) > limits[plane]:
            name = ("kinds", "owners", "armies")[plane]
            got = "the end of the input" if not line else repr(line[:80])
            return StateError(
                f"line {first_line + i}: expected row {i % height} of the {name}, {width} integers from 0 to {limits[plane]}, "
                f"got {got}"
            )
    return StateError(f"line {first_line}: expected a frame, got another text")


def read_numbers(lines: LineReader, number: int, what: str, form: str, count: int) -> list[int] | None:
    """Return the integers of a line, None at the end of the stream."""
    line = lines.readline(MAX_LINE)
    if not line:
        return None
    numbers = integers(line)
    if numbers is None or len(numbers) != count or any(not 0 <= value <= MAX_NUMBER for value in numbers):
        raise StateError(f"line {number}: expected {what}, {form}, got {line[:80]!r}")
    return numbers


def integers(line: bytes) -> list[int] | None:
    """Return the integers of a line, or None."""
    try:
        return [int(word) for word in line.split()]
    except ValueError:
        return None
