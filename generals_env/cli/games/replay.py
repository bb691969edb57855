"""Implements ``generals-env replay``: shows recorded games as tables, films, pages and text, and records or saves them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from generals_env import replay
from generals_env.cli.dataset import FormatName, Naming, console, progress_bar
from generals_env.cli.destinations import check_destinations, open_destinations
from generals_env.engine.boards import COMPETITION_VERSION
from generals_env.errors import GeneralsError, StorageError
from generals_env.recorders import open_dataset, record_replays
from generals_env.recorders.datasets.recorded_games import game_ids, game_of_batch, load_game, rows_of_games
from generals_env.recorders.formats import format_of_file
from generals_env.recorders.formats.file_names import is_index
from generals_env.recorders.log.log_as_dataset import is_log
from generals_env.replay import RecordedGame

__all__ = ["play_replays"]

GIF_FRAMES = 100  # at most: turns of longer games are skipped
GIF_TILE = 20  # pixels
PAGE_GAMES = 10  # of a page
LISTED = 20  # games of a dataset in a table

#: Endings of the names of replays.
REPLAYS = (".gior", ".gioreplay", ".generals", ".json", ".json.gz")

#: A game that can be loaded: what it is called, and the function that loads it.
Loadable = tuple[str, Callable[[], RecordedGame]]


def play_replays(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Replay files (.gior, .gioreplay, .json, .generals), folders of them, or datasets and logs (see --game)."
        ),
    ],
    out: Annotated[
        str | None, typer.Option(help="Folder or URL (s3://...) to record replays of people in, or grpc://host:port.")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Folder of a log to record into, besides or instead of --out.")] = None,
    game: Annotated[str | None, typer.Option(help="Id of a game of a dataset or log; without, its first games.")] = None,
    gif: Annotated[Path | None, typer.Option(help="File for a GIF of the first game.")] = None,
    mp4: Annotated[Path | None, typer.Option(help="File for an MP4 film of the first game.")] = None,
    html: Annotated[Path | None, typer.Option(help="File for a page that plays the games, up to ten, in any browser.")] = None,
    save: Annotated[Path | None, typer.Option(help="File to write the first game to: .gior, or .generals.")] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the board of the first game at --turn.")] = False,
    turn: Annotated[int | None, typer.Option(min=0, help="Turn for --text (default: last) and --html (first).")] = None,
    player: Annotated[int | None, typer.Option(min=0, help="Player whose view to show; the whole board without.")] = None,
    form: FormatName = "npz",
    naming: Naming = "packed",
) -> None:
    """Show recorded games: how they end, as a film, as a page or as text; save one as a replay, or record all of them."""
    records = out is not None or log is not None
    games = list(find_games(paths, game, records))
    skipped: dict[str, str] = {}
    if records:
        files = [name for name, _ in games]
        with open_destinations(out, log, form, naming) as sink, progress_bar() as bar:
            result = record_replays(bar.track(files, description="recording"), sink, on_error="skip")
        skipped = result.skipped
        console.print(
            f"{result.games:,} games, {result.experiences:,} experiences in {', '.join(check_destinations(out, log))}"
        )
    elif not any((gif, mp4, html, save, text)):
        skipped = show_table(games)
    report(skipped)
    readable = [(name, load) for name, load in games if name not in skipped]
    if any((gif, mp4, html, save, text)):
        loaded, unread = load_games(readable, PAGE_GAMES if html else 1)
        report(unread)
        if loaded:
            check_player(player, loaded[0])
            try:
                show_game(loaded, gif, mp4, html, save, text, turn, player)
            except ImportError as error:  # a film without the extra
                raise typer.BadParameter(str(error), param_hint="--mp4") from None
        readable = readable if loaded else []
    if not readable:
        raise typer.Exit(1)


def find_games(paths: Sequence[str], game: str | None, only_files: bool) -> Iterator[Loadable]:
    """Yield the games at the paths; with ``only_files`` nothing is taken for a dataset.

    Raises:
        typer.BadParameter: If a path does not exist.
    """
    missing = [path for path in paths if "://" not in path and not Path(path).exists()]
    if missing:
        raise typer.BadParameter(f"expected files or folders that exist, got {', '.join(missing)}", param_hint="PATHS")
    for path in paths:
        if not only_files and is_dataset(path):
            yield from games_of_dataset(path) if game is None else [(game, partial(load_game, path, game))]
        else:
            files = sorted(Path(path).iterdir()) if Path(path).is_dir() else [Path(path)]
            yield from ((str(file), partial(replay.load, file)) for file in files if file.is_file())


def games_of_dataset(path: str) -> list[Loadable]:
    """Return the first games of a dataset or log; the first one that is loaded reads the files, once for all of them."""
    names = list(islice(game_ids(path), LISTED))
    rows = cache(partial(rows_of_games, path, names))

    def load(name: str) -> RecordedGame:
        return game_of_batch(rows()[name], name)

    return [(name, partial(load, name)) for name in names]


def is_dataset(path: str) -> bool:
    """Return whether a path or URL is a dataset, a file of one, or a log; a folder with replays in it is none."""
    if "://" in path:
        return True
    if not Path(path).is_dir():
        return format_of_file(path) is not None
    if is_log(Path(path)):
        return True
    if any(file.name.endswith(REPLAYS) and not is_index(file.name) for file in Path(path).iterdir()):
        return False
    try:
        open_dataset(path)
    except StorageError:
        return False
    return True


def load_games(games: Sequence[Loadable], count: int) -> tuple[list[RecordedGame], dict[str, str]]:
    """Return the first ``count`` games that can be read, and why others before them cannot."""
    loaded: list[RecordedGame] = []
    unread: dict[str, str] = {}
    for name, load in games:
        if len(loaded) == count:
            break
        try:
            loaded.append(load())
        except GeneralsError as error:
            unread[name] = str(error)
    return loaded, unread


def show_table(games: Sequence[Loadable]) -> dict[str, str]:
    """Print how games end; return why some could not be read."""
    skipped: dict[str, str] = {}
    table = Table("replay", "version", "players", "board", "turns", "winner")
    with progress_bar() as bar:
        for name, load in bar.track(games, description="playing"):
            try:
                table.add_row(*map(escape, describe(load(), Path(name).name)))
            except GeneralsError as error:
                skipped[name] = str(error)
    console.print(table)
    return skipped


def describe(game: RecordedGame, name: str) -> tuple[str, ...]:
    """Return the row of a game in the table."""
    first, last = game.boards.games[0], game.boards.players[-1]
    living = np.flatnonzero(last["alive"])
    winner = ", ".join(f"player_{player}" for player in living) if len(living) < game.players else "not finished"
    version = "competition" if first["version"] == COMPETITION_VERSION else str(first["version"])
    board = f"{first['rows']}x{first['columns']}"
    return game.id or name, version, str(game.players), board, str(int(game.boards.games["turn"][-1])), winner or "none"


def check_player(player: int | None, game: RecordedGame) -> None:
    """Raise ``typer.BadParameter`` if a game has no such player."""
    if player is not None and player >= game.players:
        raise typer.BadParameter(f"expected 0 to {game.players - 1}, got {player}", param_hint="--player")


def show_game(
    games: Sequence[RecordedGame],
    gif: Path | None,
    mp4: Path | None,
    html: Path | None,
    save: Path | None,
    text: bool,
    turn: int | None,
    player: int | None,
) -> None:
    """Write and print the first game, or all of them on a page."""
    from generals_env.rendering.films import GameFrames, save_gif, save_mp4
    from generals_env.rendering.text import format_board
    from generals_env.viewer import write_page

    game = games[0]
    if text:
        number = game.turns if turn is None else min(turn, game.turns)
        print(format_board(game.boards, number, player, color=console.is_terminal))  # noqa: T201 - it has codes of colours
    if save:
        replay.write(save, game)
        console.print(f"game in {save}", markup=False, soft_wrap=True)
    if gif:
        frames = len(GameFrames(game, player, GIF_TILE, max_frames=GIF_FRAMES))
        with progress_bar() as bar:
            task = bar.add_task("drawing", total=frames)
            options = {"player": player, "tile_size": GIF_TILE, "max_frames": GIF_FRAMES}
            save_gif(game, gif, on_frame=lambda done: bar.update(task, completed=done), **options)  # type: ignore[arg-type]
        console.print(f"picture in {gif}", markup=False, soft_wrap=True)
    if mp4:
        with progress_bar() as bar:
            task = bar.add_task("filming", total=game.turns + 1)
            save_mp4(game, mp4, player=player, on_frame=lambda done: bar.update(task, completed=done))
        console.print(f"film in {mp4}", markup=False, soft_wrap=True)
    if html:
        write_page(games, html, player=player, turn=turn or 0)
        console.print(f"page in {html}: open it in a browser", markup=False, soft_wrap=True)


def report(skipped: dict[str, str]) -> None:
    """Print which files were skipped and why."""
    for name, reason in skipped.items():
        console.print(f"skipped {name}: {reason}", style="yellow", markup=False, soft_wrap=True)
