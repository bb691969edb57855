"""Writes the replays that a report links to, and shows the list of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from generals_env.arena.page.deciding import ChosenGame
from generals_env.arena.page.markup import Child, element, player_name, table
from generals_env.errors import ReplayError, StorageError
from generals_env.replay import files
from generals_env.viewer import write_page

__all__ = ["game_table", "write_replays"]

ENDINGS = {"won": "won", "draw": "drawn", "cut_off": "cut off", "forfeit": "won by forfeit"}


def write_replays(
    chosen: Sequence[ChosenGame], store: Path, folder: Path, on_replay: Callable[[int, int], None] | None = None
) -> list[str]:
    """Write a page and a game file of each game; return the names of the files without suffix, "" where no replay is found.

    Args:
        chosen: The games.
        store: Folder that paths of replays are relative to; a path that leads out of it is not read.
        folder: Folder to write into.
        on_replay: Called with the number of games done, and of all.

    Raises:
        StorageError: If a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"path: expected a folder that can be made, got {str(folder)!r} ({error}): pass another path"
        ) from error
    names = []
    root = store.resolve()
    for number, one in enumerate(chosen, 1):
        path = (root / one.game.replay).resolve()
        name = ""
        try:
            if path.is_relative_to(root):
                game = replace(files.load(path), names=one.game.players)
                name = f"game_{number:03d}"
                files.write(folder / f"{name}.generals", game)
                write_page([game], folder / f"{name}.html")
        except ReplayError:
            name = ""
        names.append(name)
        if on_replay is not None:
            on_replay(number, len(chosen))
    return names


def game_table(chosen: Sequence[ChosenGame], names: Sequence[str], folder: str) -> Element:
    """Return a table of games with links to their files.

    Args:
        chosen: The games.
        names: Names of the files of each game without suffix, "" if there are none.
        folder: Folder of the files, as the page refers to it.
    """
    rows: list[list[Child]] = []
    for one, name in zip(chosen, names, strict=True):
        game = one.game
        players = [player_name(player) for player in game.players]
        if game.winner >= 0:
            players[game.winner].set("class", "name winner")
        link: Child = element("td", "replay not found", class_="soft")
        if name:
            watch = element("a", "watch", href=f"{folder}/{name}.html")
            link = element("td", watch, " \u00b7 ", element("a", "file", href=f"{folder}/{name}.generals", download=""))
        ended = ENDINGS.get(game.ended, game.ended)
        result = f"seat {game.winner + 1} {ended}" if game.winner >= 0 else ended
        cells = [element("td", cell, class_="number") for cell in (f"{game.turns:,}", f"{game.map:,}")]
        rows.append([one.why, *(element("td", player) for player in players), result, *cells, link])
    return table(["", "Seat 1", "Seat 2", "Result", "Turns", "Map", "Replay"], rows, class_="games")
