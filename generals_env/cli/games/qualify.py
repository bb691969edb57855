"""Implements ``generals-env qualify``: checks an archive as the competition does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from generals_env.bridge.match.match_game import GameResult
from generals_env.bridge.match.matches import MatchOptions, compile_turn
from generals_env.bridge.qualify import qualify_archive
from generals_env.cli.dataset import console, progress_bar

__all__ = ["qualify"]


def qualify(
    archive: Annotated[Path, typer.Argument(help="Archive that generals-env pack wrote, or of your own.")],
    opponent: Annotated[str, typer.Option(help="The program to play against.")] = "builtin:expander",
    games: Annotated[int, typer.Option(min=1, help="Number of games, with the seats in turn.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first map.")] = 0,
    height: Annotated[int | None, typer.Option(help="Rows; default: 18 to 21, drawn for each map.")] = None,
    width: Annotated[int | None, typer.Option(help="Columns; default: likewise.")] = None,
    max_turns: Annotated[int, typer.Option(min=1, help="Turns after which a game is a draw.")] = 1200,
) -> None:
    """Check size and run.sh, start the agent from an empty home without caches, and play.

    The exit status is 1 if a check fails.
    """
    options = MatchOptions(games, seed, None, height, width, max_turns, both_seats=False)
    with console.status("loading the engine"):
        compile_turn(options)
    with progress_bar() as bar:
        task = bar.add_task("playing", total=games)
        wins = [0, 0, 0]

        def show(result: GameResult) -> None:
            wins[result.winner] += 1
            bar.update(task, advance=1, description=f"playing: won {wins[0]}, lost {wins[1]}, drawn {wins[2]}")

        outcome = qualify_archive(archive, opponent, options, show)
    table = Table("check", "", "found", title=escape(str(archive)))
    for check in outcome.checks:
        table.add_row(check.name, "passed" if check.passed else "failed", escape(check.found))
    console.print(table)
    for result in outcome.results:
        if errors := result.sides[0].errors:
            console.print(f"map {result.seed}, standard error of the agent:\n{errors}", markup=False, highlight=False)
    console.print("qualified" if outcome.passed else "not qualified")
    if not outcome.passed:
        raise typer.Exit(1)
