"""Implements ``generals-env arena``: players of any kind against each other, both seats on every map."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import TaskID

from generals_env.arena.game_kind import game_config
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import Player, make_players
from generals_env.arena.report import Report
from generals_env.arena.statistics.connected import connected_groups
from generals_env.arena.statistics.sprt import Sprt
from generals_env.arena.store import Store
from generals_env.arena.tournament import ArenaOptions, Pair, pairs_of, play_arena
from generals_env.bridge.batch_policies import PROGRAM
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.peers.peer_programs import PeerSource, is_peer
from generals_env.cli.dataset import console, errors, progress_bar
from generals_env.cli.games.arena_tables import (
    crosstable,
    faults_text,
    figures_table,
    losses_table,
    pairs_table,
    ratings_table,
    test_text,
)
from generals_env.errors import ConfigError, StorageError
from generals_env.replay.files import write_file

__all__ = ["arena"]

#: Kinds of players, for the help of commands.
PLAYERS_HELP = (
    "Built-in policies (random, expander, hunter, planner), trained, saved networks, .zip files of Stable-Baselines3 "
    "(with --trust), module:callable on batches; with --rules competition also stdio:COMMAND and peer:NAME."
)

#: Seconds for the first move, without and with an agent of generals-bots: JAX compiles it for each size of the board.
FIRST_MOVE, PEER_FIRST_MOVE = 10.0, 60.0

PAGE_REPLAYS = 4  # of each pair, with a page
MAX_BARS = 10  # of pairs that are shown although they have ended
SHOWN = 3  # forfeits that are shown
SHORT = 24  # characters of a name in the progress bar


def arena(
    players: Annotated[list[str], typer.Argument(help=PLAYERS_HELP, metavar="PLAYER...", show_default=False)],
    games: Annotated[int, typer.Option(min=2, help="Games of each pair, an even number: both seats on each map.")] = 400,
    against: Annotated[
        list[str] | None,
        typer.Option(help="A player that each PLAYER meets; PLAYERs do not meet each other. Once or more.", show_default=False),
    ] = None,
    sprt: Annotated[
        str | None,
        typer.Option(
            help="ELO0,ELO1: test the first player against the second, and stop when it is decided.", metavar="ELO0,ELO1"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the maps.")] = 0,
    board: Annotated[int | None, typer.Option(min=4, max=64, help="Rows and columns of the board.")] = None,
    height: Annotated[int | None, typer.Option(min=4, max=64, help="Rows.", show_default="20")] = None,
    width: Annotated[int | None, typer.Option(min=4, max=64, help="Columns.", show_default="20")] = None,
    rules: Annotated[str, typer.Option(help="live, competition, or v3 to v18.")] = "live",
    max_turns: Annotated[
        int | None, typer.Option(min=1, help="Turns after which a game is cut off.", show_default="1000; competition 1200")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; results do not depend on it.", show_default="all cores")
    ] = None,
    store: Annotated[Path | None, typer.Option(help="Folder that keeps the games; a later run adds to it.")] = None,
    replays: Annotated[
        int | None, typer.Option(min=0, help="Replays to keep of each pair: upsets and wins.", show_default="0; with --html 4")
    ] = None,
    to_json: Annotated[Path | None, typer.Option("--json", help="File for results as JSON; - prints them.")] = None,
    html: Annotated[Path | None, typer.Option(help="File for a page with the results.")] = None,
    trust: Annotated[bool, typer.Option(help="Load .zip files of Stable-Baselines3, which can run code.")] = False,
    move_ms: Annotated[int, typer.Option(min=1, help="Milliseconds of a program for a move.")] = 150,
    first_move: Annotated[
        float | None, typer.Option(help="Seconds of a program for the first move.", show_default="10; with peer:NAME 60")
    ] = None,
    memory_mb: Annotated[int, typer.Option(min=1, help="Megabytes of memory of a program and its children.")] = 2000,
    peer: Annotated[Path | None, typer.Option(help="Checkout of generals-bots 2.6 for peer:NAME; default: 2.5.0.")] = None,
    peer_python: Annotated[
        Path | None, typer.Option(help="Python that has JAX or generals-bots 2.5.0; default: of 'generals-env peer install'.")
    ] = None,
) -> None:
    """Play players against each other in batches, both seats on every map, and compare them.

    The same seed gives the same games, whatever the number of threads and the other players.
    """
    if board is not None and (height, width) != (None, None):
        raise ConfigError("board: expected either --board or --height and --width, got both: leave one out")
    if replays is None:
        replays = PAGE_REPLAYS if html is not None else 0
    if replays and store is None and html is None:
        raise ConfigError("replays: expected a folder for them, got none: pass --store or --html")
    names = [*players, *(against or ())]
    options = ArenaOptions(
        config=game_config(height=height or board, width=width or board, max_turns=max_turns, rules=rules),
        games=games,
        seed=seed,
        threads=threads,
        limits=limits_of(names, first_move, move_ms, memory_mb),
        replays=replays,
    )
    check_library()
    check_places(to_json, html)
    everyone = make_players(names, trust, options.limits, PeerSource(peer, peer_python))
    pairs = pairs_of(everyone[: len(players)], everyone[len(players) :])
    test = sequential_test(sprt, pairs)
    tested = (everyone[0].name, everyone[1].name) if test is not None else None
    quiet = to_json == Path("-")
    begun = time.perf_counter()
    with ExitStack() as ending:
        kept = None if store is None else ending.enter_context(Store(store))
        if kept is not None:
            report_dropped(kept)
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory())) if replays and kept is None else None
        played, new = play_shown(pairs, options, kept, test, tested, folder, quiet)
        seconds = time.perf_counter() - begun
        if kept is not None:
            kept.read()  # other runs may have added games
        report = Report.of(kept.games(options.kind) if kept else played, everyone, seed, seconds, new, test, tested)
        if html is not None:
            write_page(report, html, store if folder is None else folder, quiet)
    if to_json is not None:
        result = report.to_dict()
        if store is None:
            result["replays"] = []  # the page has copies, but their folder is gone
        text = json.dumps(result, indent=2, allow_nan=False)
        if quiet:
            typer.echo(text)
            return
        write_file(to_json, f"{text}\n".encode())
    show(report, store, html)


def limits_of(names: Sequence[str], first_move: float | None, move_ms: int, memory_mb: int) -> Limits:
    """Return the limits of programs."""
    if first_move is None:
        first_move = PEER_FIRST_MOVE if any(is_peer(name.removeprefix(PROGRAM)) for name in names) else FIRST_MOVE
    return Limits(first_move=first_move, move=move_ms / 1000, memory=memory_mb * 10**6)


def check_places(to_json: Path | None, html: Path | None) -> None:
    """Make the folders of the files, before games are played that could not be written.

    Raises:
        StorageError: If they cannot be written.
    """
    for place in (to_json, html):
        if place is None or place == Path("-"):
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            fits = os.access(place.parent, os.W_OK) and not place.is_dir()
        except OSError:
            fits = False
        if not fits:
            raise StorageError(f"path: expected a file that can be written, got {str(place)!r}: name another one")


def check_library() -> None:
    """Check that the libraries of the statistics are there before games are played.

    Raises:
        ConfigError: If one is not installed.
    """
    if find_spec("scipy") is None:
        raise ConfigError('arena: expected scipy, got none: pip install "generals_env[arena]"')


def report_dropped(store: Store) -> None:
    """Report what a run that was killed left unfinished in a store."""
    if store.dropped:
        errors.print(f"{store.folder}: dropped an unfinished last line of {store.dropped} bytes", markup=False, soft_wrap=True)


def sequential_test(text: str | None, pairs: Sequence[Pair]) -> Sprt | None:
    """Return the test of ``--sprt``.

    Raises:
        ConfigError: If the text is not two numbers, or there are not exactly two players.
    """
    if text is None:
        return None
    try:
        elo0, elo1 = map(float, text.split(","))
    except ValueError:
        raise ConfigError(f"sprt: expected two numbers, such as 0,20, got {text!r}") from None
    if len(pairs) != 1:
        raise ConfigError(f"sprt: expected two players, got {len(pairs)} pairs: test the first against the second")
    return Sprt(elo0, elo1)


def play_shown(
    pairs: Sequence[Pair],
    options: ArenaOptions,
    store: Store | None,
    test: Sprt | None,
    tested: tuple[str, str] | None,
    folder: Path | None,
    quiet: bool,
) -> tuple[list[PlayedGame], int]:
    """Play all pairs with a progress bar, and return their games and how many of them are new."""
    known = 0 if store is None else len(store.games(options.kind))
    with progress_bar() as bar:
        bar.disable = quiet
        every = bar.add_task("all pairs", total=options.games * len(pairs))
        tasks: dict[Pair, TaskID] = {}
        counts: dict[Pair, list[int]] = {}
        failures: list[str] = []

        def show(pair: Pair, games: Sequence[PlayedGame]) -> None:
            if pair not in tasks:
                tasks[pair] = bar.add_task("", total=options.games)
                counts[pair] = [0, 0, 0]
            for game in games:
                winner = None if game.winner < 0 else game.players[game.winner]
                counts[pair][1 if winner is None else 0 if winner == pair[0].name else 2] += 1
            won, drawn, lost = counts[pair]
            text = f"{short(pair[0])} {won} - {drawn} - {lost} {short(pair[1])}"
            bar.update(tasks[pair], advance=len(games), description=escape(text))
            bar.update(every, advance=len(games))
            if sum(counts[pair]) == options.games and len(pairs) > MAX_BARS:
                bar.remove_task(tasks[pair])

        played = play_arena(pairs, options, store, show, test, tested[0] if tested else "", folder, failures.append)
    for text in failures[:SHOWN]:
        errors.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    if len(failures) > SHOWN:
        errors.print(f"and {len(failures) - SHOWN} other games with forfeits", style="red")
    return played, len(played) if store is None else len(store.games(options.kind)) - known


def short(player: Player) -> str:
    """Return the name of a player for the progress bar."""
    return player.name if len(player.name) <= SHORT else f"{player.name[: SHORT - 1]}\N{HORIZONTAL ELLIPSIS}"


def write_page(report: Report, path: Path, replays: Path | None, quiet: bool) -> None:
    """Write the page of a report."""
    from generals_env.arena.page.report import write_report

    with progress_bar() as bar:
        bar.disable = quiet
        task = bar.add_task("writing replays", total=None)
        write_report(
            report.games,
            path,
            ratings=report.ratings,
            sprt=report.test,
            tested=report.tested[0] if report.tested else "",
            store=replays,
            command=shlex.join(["generals-env", *sys.argv[1:]]),
            on_replay=lambda done, total: bar.update(task, completed=done, total=total),
        )


def show(report: Report, store: Path | None, html: Path | None) -> None:
    """Print the tables."""
    console.print(pairs_table(report))
    if len(report.players) > 2:
        console.print(crosstable(report))
    if (table := ratings_table(report)) is not None:
        console.print(table)
    else:
        groups = "; ".join(", ".join(group) for group in connected_groups(report.games))
        text = f"no ratings, as no games connect these groups of players: {groups}; play pairs that do"
        console.print(text, markup=False, soft_wrap=True)
    console.print(figures_table(report))
    if any(figures.losses for figures in report.figures.values()):
        console.print(losses_table(report))
    if text := faults_text(report):
        console.print(text, markup=False, soft_wrap=True)
    if text := test_text(report):
        console.print(text, markup=False, soft_wrap=True)
    console.print(f"{report.new:,} new games in {report.seconds:,.1f} s, seed {report.seed}", highlight=False)
    for name, place in (("games", store), ("page", html)):
        if place is not None:
            console.print(f"{name} in {place}", markup=False, soft_wrap=True)
