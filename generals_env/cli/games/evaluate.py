"""Implements ``generals-env evaluate``: the strength of a player in a versioned task, in one line to cite."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from generals_env.arena.evaluation import Evaluation, elo_text, evaluate
from generals_env.arena.store import Store
from generals_env.arena.tasks import TASKS
from generals_env.cli.dataset import console, progress_bar

__all__ = ["evaluate_player"]


def evaluate_player(
    player: Annotated[
        str,
        typer.Argument(
            help="A saved network, trained, a .zip file of Stable-Baselines3 (with --trust), module:callable on batches, "
            "a built-in policy, or stdio:COMMAND (competition).",
            metavar="CHECKPOINT",
        ),
    ],
    task: Annotated[str, typer.Option(help=", ".join(TASKS))] = "generals-20x20-v0",
    games: Annotated[
        int | None, typer.Option(min=2, help="Games against each opponent for a first look, an even number; default: all.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Folder that keeps the games, so that an evaluation that was ended goes on.")
    ] = None,
    trust: Annotated[bool, typer.Option(help="Load .zip files of Stable-Baselines3, which can run code.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
) -> None:
    """Play a player through a task: fixed maps, opponents and Elo scale. Prints one line to cite.

    Results of the same task can be compared between people; `expander` has Elo 1000.
    """
    with progress_bar() as bar:
        bar.disable = as_json
        shown = bar.add_task(f"playing {escape(task)}", total=None)
        with Store(store) if store is not None else nullcontext() as kept:
            result = evaluate(
                player,
                task,
                games=games,
                trust=trust,
                store=kept,
                on_games=lambda done, total: bar.update(shown, completed=done, total=total),
            )
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2, allow_nan=False))
        return
    console.print(opponents_table(result))
    typer.echo(result.line())


def opponents_table(result: Evaluation) -> Table:
    """Return the results against each opponent."""
    table = Table("opponent", "Elo", "games", "won", "drawn", "lost", "cut off", "score, 95%", title=escape(result.player))
    scale = result.task.scale
    for one in result.comparisons:
        elo = f"{scale[one.opponent]:.0f}" if one.opponent in scale else ""
        score = f"{100 * one.score.value:.1f}% ({100 * one.score.low:.1f} to {100 * one.score.high:.1f})"
        counts = (one.games, one.wins, one.draws, one.losses, one.cut_offs)
        table.add_row(escape(one.opponent), elo, *map(str, counts), score)
    table.caption = f"Elo {elo_text(result.elo)}"
    return table
