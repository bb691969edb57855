"""Implements ``generals-env``: plays, records and shows games from the command line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from generals_env import __version__, make_vec, replay
from generals_env.cli.config import app as config_app
from generals_env.cli.dataset import FormatName, Naming, console, errors, progress_bar
from generals_env.cli.dataset import app as dataset_app
from generals_env.cli.destinations import check_destinations, open_destinations
from generals_env.cli.ending_signals import EndingSignals
from generals_env.cli.games.agent import agent
from generals_env.cli.games.from_replays import from_replays
from generals_env.cli.games.match import match
from generals_env.cli.games.pack import pack, starter
from generals_env.cli.games.play import play
from generals_env.cli.games.qualify import qualify
from generals_env.cli.health import health
from generals_env.cli.record import WholeGames, compile_kernels, games_at_once, play_games
from generals_env.cli.run import run
from generals_env.cli.serve import serve
from generals_env.cli.submit import submit
from generals_env.cli.train import train
from generals_env.cli.warm import warm
from generals_env.engine.boards import MAX_PLAYERS
from generals_env.errors import ConfigError, GeneralsError, ReplayError
from generals_env.opponents import POLICIES
from generals_env.recorders import open_dataset, record_replays
from generals_env.recorders.sinks.multi import is_server
from generals_env.rendering.gif import save_gif
from generals_env.rendering.image import draw_board

__all__ = ["app", "main"]

app = typer.Typer(help="generals.io games for training agents.", no_args_is_help=True, add_completion=False)
app.add_typer(config_app, name="config")
app.add_typer(dataset_app, name="dataset")
dataset_app.command(name="from-replays")(from_replays)
app.command()(agent)
app.command()(health)
app.command()(match)
app.command()(pack)
app.command()(qualify)
app.command()(starter)
app.command()(play)
app.command()(run)
app.command()(serve)
app.command()(submit)
app.command()(train)
app.command()(warm)

GIF_FRAMES = 100  # at most: turns of longer games are skipped
GIF_TILE = 20  # pixels

Policies = Annotated[str, typer.Option(help="One built-in policy a player, or one for all: random, expander.")]
Seed = Annotated[int, typer.Option(help="Makes games reproducible.")]
Size = Annotated[int, typer.Option(min=4, max=64)]
Log = Annotated[Path | None, typer.Option(help="Folder of a log to record into, besides or instead of OUT.")]
Picture = Annotated[Path | None, typer.Option(help="File for a GIF of a game, one that is won if possible.")]
AtOnce = Annotated[int | None, typer.Option(min=1, help="Games to play at once; default: 512, or what fits into 256 MiB.")]


@app.command()
def record(
    out: Annotated[
        str | None, typer.Argument(help="Folder or URL (s3://...) for the recorded games, or grpc://host:port of a server.")
    ] = None,
    games: Annotated[int, typer.Option(min=1)] = 100,
    players: Annotated[int, typer.Option(min=2, max=16)] = 2,
    height: Size = 20,
    width: Size = 20,
    max_turns: Annotated[int, typer.Option(min=1)] = 1000,
    rules: Annotated[str, typer.Option(help="live, or v3 to v18.")] = "live",
    policies: Policies = "expander",
    seed: Seed = 0,
    gif: Picture = None,
    form: FormatName = "npz",
    naming: Naming = "packed",
    parallel_games: AtOnce = None,
    log: Log = None,
) -> None:
    """Play games between built-in policies, many at once, and record every transition."""
    places = check_destinations(out, log)
    names = policies.split(",")
    if len(names) == 1:
        names *= players
    if len(names) != players:
        raise typer.BadParameter(f"expected one policy or {players}, got {len(names)}", param_hint="--policies")
    if unknown := [name for name in names if name not in POLICIES]:
        raise ConfigError(f"policies: expected one of {', '.join(POLICIES)} for each player, got {unknown[0]!r}")
    at_once = min(games, parallel_games or games_at_once(games, players, height * width))
    venv = make_vec(at_once, players=players, height=height, width=width, max_turns=max_turns, rules=rules)
    with open_destinations(out, log, form, naming) as sink:
        compile_kernels(form, picture=gif is not None)
        with progress_bar() as bar:
            task = bar.add_task("playing", total=games)

            def show() -> None:
                bar.update(task, completed=played.games, description=f"playing {played.experiences:13,} experiences")

            played = WholeGames(sink, games, picture=gif is not None, on_write=show)
            seconds = play_games(venv, names, seed, played)
    if gif:
        with console.status(f"drawing {gif}"):
            boards = played.boards(GIF_FRAMES)
            save_gif([draw_board(boards, b, tile_size=GIF_TILE) for b in range(len(boards.games))], gif)
    print_summary(places, played, at_once, seconds, gif)


def print_summary(places: Sequence[str], played: WholeGames, at_once: int, seconds: float, gif: Path | None) -> None:
    """Print counts of what was played and recorded."""
    experiences = played.experiences
    winners = [f"player_{player} {played.endings[f'player_{player}']:,}" for player in range(MAX_PLAYERS)]
    table = Table(title=f"generals_env {__version__}", show_header=False)
    table.add_row("games", f"{played.games:,} ({at_once:,} at once)")
    table.add_row("turns", f"{played.turns:,}")
    table.add_row("winners", ", ".join(winner for winner in winners if not winner.endswith(" 0")) or "no game was won")
    table.add_row("draws", f"{played.endings['draws']:,}")
    table.add_row("cut off", f"{played.endings['cut off']:,}")
    table.add_row("experiences", f"{experiences:,}")
    for place in places:
        if not is_server(place):
            size = open_dataset(place).nbytes
            name = "bytes on disk" if len(places) == 1 else f"bytes of {place}"
            table.add_row(name, f"{size:,} ({size / max(experiences, 1):.1f} an experience)")
    table.add_row("experiences per second", f"{experiences / seconds:,.0f} (played, recorded, written)")
    table.add_row("recorded in", ", ".join(places))
    if gif:
        table.add_row("picture", str(gif))
    console.print(table)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for recordings and picture.")] = Path("runs/demo"),
    games: Annotated[int, typer.Option(min=1)] = 2000,
    seed: Seed = 0,
) -> None:
    """Play 2,000 expander games on 20x20 boards, hundreds at once, record them, and draw one."""
    record(str(out / time.strftime("%Y%m%d-%H%M%S")), games=games, seed=seed, gif=out / "game.gif", form="games")


@app.command(name="replay")
def play_replays(
    paths: Annotated[list[Path], typer.Argument(help="Replay files (.gior, .gioreplay, .json, .json.gz) or folders of them.")],
    out: Annotated[
        str | None, typer.Option(help="Folder or URL (s3://...) to record every transition in, or grpc://host:port.")
    ] = None,
    log: Log = None,
    gif: Annotated[Path | None, typer.Option(help="File for a GIF of the first replay.")] = None,
    form: FormatName = "npz",
    naming: Naming = "packed",
) -> None:
    """Play recorded games of people again: show how they end, record them, draw one."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise typer.BadParameter(f"expected files or folders that exist, got {', '.join(missing)}", param_hint="PATHS")
    files = [file for path in paths for file in (sorted(path.iterdir()) if path.is_dir() else [path]) if file.is_file()]
    skipped: dict[str, str] = {}
    if out is None and log is None:
        table = Table("replay", "version", "players", "board", "turns", "winner")
        with progress_bar() as bar:
            for file in bar.track(files, description="playing"):
                try:
                    table.add_row(*describe(file))
                except ReplayError as error:
                    skipped[str(file)] = str(error)
        console.print(table)
    else:
        with open_destinations(out, log, form, naming) as sink, progress_bar() as bar:
            result = record_replays(bar.track(files, description="recording"), sink, on_error="skip")
        skipped = result.skipped
        places = ", ".join(check_destinations(out, log))
        console.print(f"{result.games:,} games, {result.experiences:,} experiences in {places}")
    for file_name, reason in skipped.items():
        console.print(f"skipped {file_name}: {reason}", style="yellow", markup=False)
    readable = [file for file in files if str(file) not in skipped]
    if gif and readable:
        turns = list(replay.read(readable[0]).play())
        with progress_bar() as bar:
            chosen = turns[:: max(len(turns) // GIF_FRAMES, 1)] + turns[-1:]
            save_gif([draw_board(turn.boards, tile_size=GIF_TILE) for turn in bar.track(chosen, description="drawing")], gif)
        console.print(f"picture in {gif}")
    if not readable:
        raise typer.Exit(1)


def describe(file: Path) -> tuple[str, ...]:
    """Return the row of a replay in the table."""
    game = replay.read(file)
    *_, last = game.play()
    living = np.flatnonzero(last.alive)
    winner = ", ".join(f"player_{player}" for player in living) if len(living) < game.players else "not finished"
    board = f"{game.height}x{game.width}"
    return game.id or file.name, str(game.version), str(game.players), board, str(last.turn), winner or "none"


def main() -> None:
    """Run the command line; print errors of the package in one line. After a signal the status is 128 and its number."""
    with EndingSignals() as signals:
        try:
            app()
        except GeneralsError as error:
            errors.print(f"error: {' '.join(str(error).splitlines())}", style="red", markup=False, soft_wrap=True)
            raise SystemExit(2) from None
        except SystemExit as end:
            if signals.received and end.code:
                raise SystemExit(signals.status) from None
            raise
        except OSError:
            if signals.received:  # the terminal was closed
                raise SystemExit(signals.status) from None
            raise
