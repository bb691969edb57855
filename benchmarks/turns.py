"""Measures turns of 1,024 games in this build and an older one in turn: ``python -m benchmarks turns --before PATH``.

Each build has a process that stays alive and is asked in turn with the other, so that ratios of pairs are of the same moment.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from benchmarks.builds import Worker, builds
from benchmarks.pairs import Figures, in_turn, keep, table_of_pairs

GAMES, SIDE = 1024, 20
QUESTIONS: tuple[tuple[object, ...], ...] = (
    ("play", "random"),
    ("play", "expander"),
    ("play", "hunter"),
    ("turn_by_turn", 200),
    ("step", 200),
    ("learn", 25),
    ("one_thread", 100),
    ("rules", 100),
    ("copies",),
    ("memory",),
)


def main(before: Path | None = None, rounds: int = 5) -> None:
    """Measure and print."""
    console = Console(width=180)
    found = builds(before, console)
    names = [build.name for build in found]
    figures: Figures = {}
    with ExitStack() as stack:
        workers = {
            build.name: stack.enter_context(Worker(build.python, build.folder, "turns.py", GAMES, SIDE)) for build in found
        }
        for number in range(-1, rounds):
            console.print(f"round {number + 1} of {rounds}" if number >= 0 else "compiling", style="dim")
            for question in QUESTIONS:
                for name in in_turn(names, number):
                    for row, value in workers[name].ask(*question).items():
                        if number >= 0:
                            keep(figures, row, name, value)
    title = f"{GAMES:,} games, {SIDE}x{SIDE}, two players: turns a second"
    console.print(table_of_pairs(title, figures, names))


if __name__ == "__main__":
    main()
