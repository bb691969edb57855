"""Parses boards that are written as text.

Each line is a row. A row without spaces holds one character a tile, as in other tools for this game; a row with spaces holds
one token a tile, which can also give an army.

=========  ==================================================
character  tile
=========  ==================================================
``.``      empty
``#``      mountain
``A``-``P``  general of player 0-15
``0``-``9``  city with 40-49 army
``x``      city with 50 army
``s``      swamp
``d``      desert
``l``      lookout
``o``      observatory
``$40``    city with that army (token)
``+7``     neutral land with that army, ``-7`` likewise (token)
=========  ==================================================

Generals are ``A``, ``B`` and so on without gaps, each once. Height and width are 4 to 64.
"""

from __future__ import annotations

import re

from generals_env.engine.boards import (
    CITY,
    DESERT,
    GENERAL,
    LOOKOUT,
    MOUNTAIN,
    NEUTRAL,
    OBSERVATORY,
    OWNER_LOOKOUT,
    OWNER_MOUNTAIN,
    OWNER_OBSERVATORY,
    PLAIN,
    SWAMP,
    Boards,
    empty_boards,
)
from generals_env.errors import MapError

__all__ = ["parse_board"]

CHARACTERS = {
    ".": (NEUTRAL, PLAIN),
    "#": (OWNER_MOUNTAIN, MOUNTAIN),
    "s": (NEUTRAL, SWAMP),
    "d": (NEUTRAL, DESERT),
    "l": (OWNER_LOOKOUT, LOOKOUT),
    "o": (OWNER_OBSERVATORY, OBSERVATORY),
}
LETTERS = "ABCDEFGHIJKLMNOP"
MAX_ARMY = 10**6


def parse_board(text: str) -> Boards:
    """Return the board that ``text`` describes, at turn 0.

    Raises:
        MapError: If the text does not describe a board; the message names row and column.
    """
    if not isinstance(text, str):
        raise MapError(f"map: expected a text, got {type(text).__name__}: pass a str with one line a row")
    rows = [line.split() for line in text.strip().splitlines()]
    rows = [list(tokens[0]) if len(tokens) == 1 else tokens for tokens in rows]
    height, width = len(rows), len(rows[0]) if rows else 0
    if not (4 <= height <= 64 and 4 <= width <= 64):
        raise MapError(f"map: expected 4 to 64 rows of 4 to 64 tiles, got {height} rows of {width}")
    generals: dict[int, int] = {}
    tiles: list[tuple[int, int, int]] = []
    for number, row in enumerate(rows):
        if len(row) != width:
            raise MapError(f"map: expected {width} tiles in row {number}, got {len(row)}: make all rows as long as row 0")
        for column, token in enumerate(row):
            if len(token) == 1 and token in LETTERS:
                player = LETTERS.index(token)
                if player in generals:
                    raise MapError(
                        f"map: expected general {token} once, got it again in row {number}, column {column}: remove one"
                    )
                generals[player] = number * width + column
                tiles.append((player, GENERAL, 1))
            else:
                tiles.append(parse_tile(token, number, column))
    if sorted(generals) != list(range(len(generals))) or len(generals) < 2:
        found = "".join(LETTERS[player] for player in sorted(generals)) or "none"
        raise MapError(f"map: expected generals A, B and so on, at least two, got {found}")
    boards = empty_boards(1, height, width, len(generals))
    for tile, (owner, terrain, army) in enumerate(tiles):
        boards.owner[0, tile] = owner
        boards.terrain[0, tile] = terrain
        boards.army[0, tile] = army
    for player, tile in generals.items():
        boards.players[0, player]["general"] = tile
    return boards


def parse_tile(symbol: str, row: int, column: int) -> tuple[int, int, int]:
    """Return owner, terrain and army of a tile without a general."""
    if symbol in CHARACTERS:
        return (*CHARACTERS[symbol], 0)
    if symbol == "x":
        return NEUTRAL, CITY, 50
    if re.fullmatch(r"[0-9]", symbol):
        return NEUTRAL, CITY, 40 + int(symbol)
    match = re.fullmatch(r"(\$|[+-])([0-9]{1,7})", symbol)
    if match is None or int(match[2]) > MAX_ARMY:
        raise MapError(
            f"map: expected one of . # A-P 0-9 x s d l o $ARMY +ARMY -ARMY (armies up to {MAX_ARMY}) "
            f"in row {row}, column {column}, got {symbol!r}"
        )
    army = int(match[2])
    if match[1] == "$":
        return NEUTRAL, CITY, army
    return NEUTRAL, PLAIN, -army if match[1] == "-" else army
