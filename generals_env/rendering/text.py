"""Renders boards as text for a terminal."""

from __future__ import annotations

from generals_env.engine.boards import CITY, DESERT, GENERAL, NEUTRAL, PLAIN, SWAMP, Boards
from generals_env.rendering.sight import seen_tiles

__all__ = ["format_board"]

#: ANSI code of each player's colour.
ANSI_COLORS = (31, 34, 32, 33, 35, 36, 95, 93, 92, 94, 91, 96, 37, 90, 97, 30)


def format_board(boards: Boards, b: int = 0, player: int | None = None, color: bool = True) -> str:
    """Return board ``b`` as text: armies, ``^`` mountains, ``#`` cities, ``*`` generals, ``?`` fog.

    Args:
        boards: The boards.
        b: Index of the board.
        player: Player whose view to show; None for the whole board.
        color: Whether to colour the players' tiles with ANSI codes.
    """
    seen = seen_tiles(boards, b, player)
    game = boards.games[b]
    width, rows, columns = int(game["width"]), int(game["rows"]), int(game["columns"])
    lines = [f"turn {game['turn']}"]
    for row in range(rows):
        cells = []
        for tile in range(row * width, row * width + columns):
            owner, army, terrain = int(boards.owner[b, tile]), int(boards.army[b, tile]), int(boards.terrain[b, tile])
            if not seen[tile]:
                cell = "?"
            elif owner < NEUTRAL:
                cell = "^"
            elif terrain in (CITY, GENERAL):
                cell = f"{'#' if terrain == CITY else '*'}{army}"
            elif owner >= 0 or army:
                cell = str(army)
            else:
                cell = {PLAIN: ".", SWAMP: "~", DESERT: ":"}[terrain]
            cell = f"{cell:>4}"
            if color and owner >= 0 and seen[tile]:
                cell = f"\x1b[{ANSI_COLORS[owner]}m{cell}\x1b[0m"
            cells.append(cell)
        lines.append("".join(cells))
    return "\n".join(lines)
