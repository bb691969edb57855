"""Implements ``generals-env``: plays, records and shows games from the command line."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from generals_env import __version__, make_vec
from generals_env.cli.config import app as config_app
from generals_env.cli.dataset import FormatName, Naming, console, errors, progress_bar
from generals_env.cli.dataset import app as dataset_app
from generals_env.cli.destinations import check_destinations, open_destinations
from generals_env.cli.ending_signals import EndingSignals
from generals_env.cli.games.agent import agent
from generals_env.cli.games.arena import arena
from generals_env.cli.games.evaluate import evaluate_player
from generals_env.cli.games.from_replays import from_replays
from generals_env.cli.games.live import live
from generals_env.cli.games.match import match
from generals_env.cli.games.pack import pack, starter
from generals_env.cli.games.peer import app as peer_app
from generals_env.cli.games.play import play
from generals_env.cli.games.qualify import qualify
from generals_env.cli.games.replay import GIF_FRAMES, GIF_TILE, play_replays
from generals_env.cli.health import health
from generals_env.cli.learning.examples import app as examples_app
from generals_env.cli.learning.export import export
from generals_env.cli.record import WholeGames, compile_kernels, games_at_once, play_games
from generals_env.cli.run import run
from generals_env.cli.serve import serve
from generals_env.cli.submit import submit
from generals_env.cli.train import train
from generals_env.cli.warm import warm
from generals_env.config import GameConfig
from generals_env.engine.boards import MAX_PLAYERS
from generals_env.errors import GeneralsError
from generals_env.opponents import policy_codes
from generals_env.recorders import open_dataset
from generals_env.recorders.sinks.multi import is_server
from generals_env.rendering.films import save_gif
from generals_env.viewer import write_page

__all__ = ["app", "main"]

app = typer.Typer(help="generals.io games for training agents.", no_args_is_help=True, add_completion=False)
app.add_typer(config_app, name="config")
app.add_typer(dataset_app, name="dataset")
app.add_typer(examples_app, name="examples")
app.add_typer(peer_app, name="peer")
dataset_app.command(name="from-replays")(from_replays)
app.command()(agent)
app.command()(arena)
app.command(name="evaluate")(evaluate_player)
app.command()(export)
app.command()(health)
app.command()(live)
app.command()(match)
app.command()(pack)
app.command()(qualify)
app.command()(starter)
app.command()(play)
app.command(name="replay")(play_replays)
app.command()(run)
app.command()(serve)
app.command()(submit)
app.command()(train)
app.command()(warm)

Policies = Annotated[str, typer.Option(help="One built-in policy a player, or one for all: random, expander, hunter, planner.")]
Seed = Annotated[int, typer.Option(help="Makes games reproducible.")]
Size = Annotated[int | None, typer.Option(min=4, max=64, help="Default: 20; by the rules of the competition 18 to 21.")]
Log = Annotated[Path | None, typer.Option(help="Folder of a log to record into, besides or instead of OUT.")]
Picture = Annotated[Path | None, typer.Option(help="File for a GIF of a game, one that is won if possible.")]
Page = Annotated[Path | None, typer.Option(help="File for a page that plays this game in any browser.")]
AtOnce = Annotated[int | None, typer.Option(min=1, help="Games to play at once; default: 512, or what fits into 256 MiB.")]


@app.command()
def record(
    out: Annotated[
        str | None, typer.Argument(help="Folder or URL (s3://...) for the recorded games, or grpc://host:port of a server.")
    ] = None,
    games: Annotated[int, typer.Option(min=1)] = 100,
    players: Annotated[int, typer.Option(min=2, max=16)] = 2,
    height: Size = None,
    width: Size = None,
    max_turns: Annotated[int | None, typer.Option(min=1, help="Default: 1000; by the rules of the competition 1200.")] = None,
    rules: Annotated[str, typer.Option(help="live, v3 to v18, or competition.")] = "live",
    policies: Policies = "expander",
    seed: Seed = 0,
    gif: Picture = None,
    html: Page = None,
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
    policy_codes(names, players)
    given = {"height": height, "width": width, "max_turns": max_turns, "rules": rules, "players": players}
    options = {name: value for name, value in given.items() if value is not None}
    tiles = math.prod(GameConfig.from_options(**options).shape)
    at_once = min(games, parallel_games or games_at_once(games, players, tiles))
    venv = make_vec(at_once, **options)
    with open_destinations(out, log, form, naming) as sink:
        compile_kernels(form, picture=bool(gif or html))
        with progress_bar() as bar:
            task = bar.add_task("playing", total=games)

            def show() -> None:
                bar.update(task, completed=played.games, description=f"playing {played.experiences:13,} experiences")

            played = WholeGames(sink, games, picture=bool(gif or html), on_write=show)
            seconds = play_games(venv, names, seed, played)
    if gif or html:
        game = played.recorded()
        if gif:
            with console.status(f"drawing {gif}"):
                save_gif(game, gif, tile_size=GIF_TILE, scale=2, max_frames=GIF_FRAMES)
        if html:
            write_page([game], html)
    print_summary(places, played, at_once, seconds, gif, html)


def print_summary(
    places: Sequence[str], played: WholeGames, at_once: int, seconds: float, gif: Path | None, html: Path | None
) -> None:
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
    if html:
        table.add_row("page", str(html))
    console.print(table)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for recordings and picture.")] = Path("runs/demo"),
    games: Annotated[int, typer.Option(min=1)] = 2000,
    seed: Seed = 0,
) -> None:
    """Play 2,000 expander games on 20x20 boards, hundreds at once, record them, and show one as picture and page."""
    record(
        str(out / time.strftime("%Y%m%d-%H%M%S")),
        games=games,
        seed=seed,
        gif=out / "game.gif",
        html=out / "game.html",
        form="games",
    )


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
