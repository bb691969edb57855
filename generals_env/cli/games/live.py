"""Implements ``generals-env live``: an agent plays on the public bot server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from generals_env.cli.dataset import console
from generals_env.engine.observations.reference import FULL_CHANNELS
from generals_env.live import LiveOptions, LiveResult, load_live_policy, play_live, read_user_id
from generals_env.live.agent import LivePolicy
from generals_env.live.belief import BeliefBoard
from generals_env.live.options import PUBLIC_SERVER
from generals_env.opponents import is_builtin, remembers
from generals_env.recorders.experience.recipe import Recipe
from generals_env.replay import files

__all__ = ["live"]


def live(
    policy: Annotated[
        str, typer.Option(help="random, expander, hunter, trained, a saved network, or module:callable.")
    ] = "expander",
    game: Annotated[str, typer.Option(help="Id of the private game to join.")] = "",
    mode: Annotated[str, typer.Option(help="private, 1v1, or ffa.")] = "private",
    games: Annotated[int, typer.Option(min=1, help="Games to play.")] = 1,
    username: Annotated[str, typer.Option(help='Name to set; it begins with "[Bot] ".')] = "",
    server: Annotated[str, typer.Option(help="Address of the server.")] = PUBLIC_SERVER,
    user_id_file: Annotated[
        Path | None, typer.Option(help="File with the secret user id; default: the environment variable GENERALS_USER_ID.")
    ] = None,
    force_start: Annotated[bool, typer.Option(help="Vote for a start before the game is full.")] = True,
    surrender_after: Annotated[int, typer.Option(min=0, help="Turn after which to surrender; 0: never.")] = 0,
    layout: Annotated[
        str | None, typer.Option(help="Layout of the policy's observations, standard or full; default: what the policy takes.")
    ] = None,
    memory: Annotated[bool, typer.Option(help="Add the planes of the wrapper FogMemory.")] = False,
    frames: Annotated[int, typer.Option(min=1, max=64, help="Observations to stack, as the wrapper FrameStack.")] = 1,
    seed: Annotated[int | None, typer.Option(help="Seed of a policy that draws.")] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder for records of the games (.generals), as the agent saw them.")
    ] = None,
    reconnects: Annotated[int, typer.Option(min=0, help="New attempts in a row after a lost connection.")] = 5,
) -> None:
    """Play live games on generals.io's server for bots. NOT YET RUN AGAINST THE LIVE SERVER.

    The client follows the protocol that other bots use, and is tested with a local server that speaks it. It connects only to
    --server, and only when this command is run. Bots must be named as such, and the site's terms apply.
    """
    chosen = load_live_policy(policy, seed)
    layout = layout or layout_of(policy, chosen)
    recipe = Recipe.from_dict({"layout": layout, "memory": memory, "frames": frames, "shaping": ()})
    options = LiveOptions(
        user_id=read_user_id(user_id_file),
        username=username,
        mode=mode,
        game=game,
        games=games,
        force_start=force_start,
        max_turns=surrender_after,
        server=server,
        reconnects=reconnects,
    )
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
    table = Table("game", "players", "seat", "turns", "moves", "outcome", "record")
    with Progress(SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(f"waiting for a game on {server}", total=None)

        def show(belief: BeliefBoard) -> None:
            bar.update(task, description=f"turn {belief.turn}")

        def keep(result: LiveResult) -> None:
            path = save_record(result, save, table.row_count) if save is not None else ""
            start = result.start
            row = (start.replay_id or "-", start.players, start.player, result.turns, result.moves, result.outcome, path)
            table.add_row(*(escape(str(cell)) for cell in row))
            bar.update(task, description=f"waiting for a game on {server}")

        try:
            play_live(options, chosen, recipe, show, keep)
        finally:
            if table.row_count:
                console.print(table)


def layout_of(name: str, policy: LivePolicy) -> str:
    """Return the layout of the observations that a policy takes: full if it remembers, or is a network for it."""
    full = remembers(name) if is_builtin(name) else getattr(policy, "channels", 9) == len(FULL_CHANNELS)
    return "full" if full else "standard"


def save_record(result: LiveResult, folder: Path, number: int) -> str:
    """Write what the agent saw of a game; return the name of the file, empty if it saw less than two turns."""
    if result.record is None:
        return ""
    name = re.sub(r"[^A-Za-z0-9_-]", "", result.start.replay_id)[:40]  # it comes from the server
    path = folder / f"{name or 'game'}-{number}.generals"
    files.write(path, result.record)
    return path.name
