"""Measures the work of generals-bots 2.6's own benchmark beside it: ``python -m benchmarks generals_bots --peer PATH``.

That library (JAX) is not on PyPI: PATH is a checkout of it, which is imported from there, with JAX in a virtual environment of
its own. Boards of 24x24, observations of both players after each turn, random moves, with and without masks. Each round asks
both libraries in turn. A turn is one turn of one game.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.builds import ROOT, Worker
from benchmarks.pairs import Figures, cell, in_turn, keep, ratios
from benchmarks.peers import PeerMissing, peer_python

GAMES, SIDE = 1024, 24
REQUIREMENTS = ("jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6")
QUESTIONS: dict[str, tuple[tuple[object, ...], ...]] = {
    "generals_env": (("play", "random"), ("turn_by_turn", 200), ("step", 200), ("copies",)),
    "generals-bots": (("turns",), ("copies",)),
}
#: Rows of this package that all others are compared with, and what their columns are called.
BASES = {
    "play, 512 turns a call, random": "play(512)",
    "play, a call a turn, random": "play(1)",
    "step(copy=False), given actions": "step",
}
TITLES = {
    "masks": "observations, masks, random legal moves",
    "tensors": "the same, observations as tensors of 14 channels",
    "agent": "observations, masks, moves of its RandomAgent",
    "given": "observations, given moves",
    "passes": "nothing handed out, both pass (its own benchmark)",
    "copy of masks": "a plain copy of its observations and masks",
    "copy of tensors": "a plain copy of its tensors and masks",
}


def main(peer: Path | None = None, rounds: int = 5) -> None:
    """Measure and print."""
    console = Console(width=180)
    figures: Figures = {}
    with ExitStack() as stack:
        workers = {"generals_env": stack.enter_context(Worker(Path(sys.executable), ROOT, "turns.py", GAMES, SIDE))}
        try:
            python, version = peer_python(REQUIREMENTS), checkout_version(peer)
            other = stack.enter_context(Worker(python, peer or Path(), "generals_bots_jax.py", GAMES, SIDE))
            console.print(f"generals-bots {version}, {', '.join(REQUIREMENTS)}; seconds before the first turn:")
            console.print("; ".join(f"{name} {seconds:.1f}" for name, seconds in other.ask("prepare").items()))
            workers["generals-bots"] = other
        except (PeerMissing, RuntimeError) as error:
            console.print(f"generals-bots is left out: {error}", style="yellow")
        for number in range(-1, rounds):
            console.print(f"round {number + 1} of {rounds}" if number >= 0 else "compiling", style="dim")
            for name in in_turn(list(workers), number):
                for question in QUESTIONS[name]:
                    for row, value in workers[name].ask(*question).items():
                        if number >= 0:
                            keep(figures, row, name, value)
    console.print(table_of(figures))


def checkout_version(peer: Path | None) -> str:
    """Return version and commit of the peer's checkout.

    Raises:
        PeerMissing: No checkout is given, or it is none.
    """
    if peer is None:
        raise PeerMissing("expected --peer PATH, a checkout of https://github.com/strakam/generals-bots, got none")
    try:
        project = tomllib.loads((peer / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise PeerMissing(f"expected a checkout of generals-bots in {peer}: {error!r}") from error
    commit = subprocess.run(["git", "-C", peer, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return f"{project['version']} ({commit.stdout.strip() or 'no commit'})"


def table_of(figures: Figures) -> Table:
    """Return a table of all rows, and how many times faster each of ``BASES`` is, from the ratios of each round."""
    columns = [f"{short} is times faster" for short in BASES.values()]
    table = Table("library", "what", "turns a second", *columns, title=f"{GAMES:,} games, {SIDE}x{SIDE}, two players")
    for row, values in figures.items():
        for name, rates in values.items():
            others = [] if name == "generals_env" else [ratios(figures[base]["generals_env"], rates) for base in BASES]
            table.add_row(name, TITLES.get(row, row), cell(rates), *others)
    return table


if __name__ == "__main__":
    main()
