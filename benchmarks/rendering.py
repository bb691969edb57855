"""Measures the CPU time of a picture of a 20x20 board: new turns of games, each drawn once, as recorders of videos do."""

from __future__ import annotations

import statistics
import time

from rich.console import Console
from rich.table import Table

import generals_env
from generals_env.engine.boards import Boards
from generals_env.rendering.image import draw_board
from generals_env.rendering.sprites import sprites_of

TURNS = 300  # of a game that is drawn

#: What is measured: options of ``draw_board`` by name.
CASES = {
    "the whole board": {},
    "a player's view": {"player": 0},
    "the whole board at twice the size": {"scale": 2},
}


def games(rounds: int) -> list[list[Boards]]:
    """Return the boards of games between expanders, turn by turn."""
    found = []
    for seed in range(rounds):
        venv = generals_env.make_vec(1, height=20, width=20)
        venv.reset(seed=seed)
        boards = []
        for _ in range(TURNS):
            venv.play(1, ("expander", "expander"))
            boards.append(venv.boards())
        found.append(boards)
        venv.close()
    return found


def main(rounds: int = 5) -> None:
    """Print milliseconds of CPU time a picture: the median over games, and the spread."""
    played = games(rounds)
    table = Table("picture", "pixels", "ms", "spread", title=f"20x20, {rounds} games of {TURNS} turns, each turn drawn once")
    for name, options in CASES.items():
        sprites_of.cache_clear()
        found = []
        for boards in played:
            began = time.thread_time()
            for board in boards:
                picture = draw_board(board, 0, **options)  # type: ignore[arg-type]
            found.append((time.thread_time() - began) / len(boards) * 1000)
        pixels = f"{picture.shape[1]}x{picture.shape[0]}"
        table.add_row(name, pixels, f"{statistics.median(found):.2f}", f"{min(found):.2f} - {max(found):.2f}")
    Console().print(table)
