"""Implements ``generals-env match``: any two programs against each other, under the limits of the competition."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.match_game import GameResult
from generals_env.bridge.match.match_summary import MatchSummary
from generals_env.bridge.match.matches import MatchOptions, compile_turn, play_matches
from generals_env.bridge.match.program import program_arguments
from generals_env.bridge.peers.peer_programs import PeerSource, is_peer
from generals_env.cli.dataset import console, progress_bar
from generals_env.cli.games.match_tables import failures_text, games_table, times_table
from generals_env.replay import files

__all__ = ["match"]

#: Seconds for the first move, without and with an agent of generals-bots: JAX compiles it for each size of the board.
FIRST_MOVE, PEER_FIRST_MOVE = 10.0, 60.0


def match(
    a: Annotated[
        str,
        typer.Argument(
            help="A program with its arguments, or builtin:NAME: random, expander, hunter; or peer:expander.", metavar="A"
        ),
    ],
    b: Annotated[str, typer.Argument(help="The other program.", metavar="B")],
    maps: Annotated[int, typer.Option(min=1, help="Number of maps; each is played from both seats.")] = 10,
    jobs: Annotated[int | None, typer.Option(min=1, help="Games at once; default: half of the cores.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first map.")] = 0,
    height: Annotated[int | None, typer.Option(help="Rows; default: 18 to 21, drawn for each map.")] = None,
    width: Annotated[int | None, typer.Option(help="Columns; default: likewise.")] = None,
    max_turns: Annotated[int, typer.Option(min=1, help="Turns after which a game is a draw.")] = 1200,
    move_ms: Annotated[int, typer.Option(min=1, help="Milliseconds for a move.")] = 150,
    first_move: Annotated[
        float | None, typer.Option(help="Seconds for the first move; default: 10, or 60 if an agent of generals-bots plays.")
    ] = None,
    memory_mb: Annotated[int, typer.Option(min=1, help="Megabytes of memory of a program and its children.")] = 2000,
    faults: Annotated[int, typer.Option(min=1, help="Faults with which a program forfeits a game.")] = 50,
    replays: Annotated[Path | None, typer.Option(help="Folder for a replay of each game.")] = None,
    peer: Annotated[Path | None, typer.Option(help="Checkout of generals-bots 2.6 for peer:NAME; default: 2.5.0.")] = None,
    peer_python: Annotated[
        Path | None, typer.Option(help="Python that has JAX or generals-bots 2.5.0; default: of 'generals-env peer install'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
) -> None:
    """Play two programs against each other over pipes, both seats on every map, by the rules of the competition."""
    if first_move is None:
        first_move = PEER_FIRST_MOVE if is_peer(a) or is_peer(b) else FIRST_MOVE
    limits = Limits(first_move=first_move, move=move_ms / 1000, faults=faults, memory=memory_mb * 10**6)
    options = MatchOptions(maps, seed, jobs, height, width, max_turns, limits)
    commands = [program_arguments(command, PeerSource(peer, peer_python)) for command in (a, b)]
    if replays is not None:
        replays.mkdir(parents=True, exist_ok=True)
    with console.status("loading the engine"):
        compile_turn(options, commands)
    begun = time.perf_counter()
    with progress_bar() as bar:
        if as_json:
            bar.disable = True
        task = bar.add_task("playing", total=2 * maps)
        wins = [0, 0, 0]

        def show(result: GameResult) -> None:
            wins[result.winner] += 1
            if replays is not None and result.record is not None:
                files.write(replays / f"map_{result.seed:06}_{'AB'[result.first]}_first.generals", result.record)
            bar.update(task, advance=1, description=f"playing: A {wins[0]}, B {wins[1]}, draws {wins[2]}")

        results = play_matches(commands, options, show, names=(a, b) if replays is not None else None)
    seconds = time.perf_counter() - begun
    summary = MatchSummary.of((a, b), results, seconds)
    if as_json:
        typer.echo(json.dumps(summary.to_dict(results), indent=2))
        return
    console.print(games_table(summary))
    console.print(times_table(summary))
    if text := failures_text(summary, results):
        console.print(text, markup=False, highlight=False)
    if replays is not None:
        console.print(f"replays in {replays}", markup=False, soft_wrap=True)
