"""Writes pages that play recorded games: one HTML file with all it needs, which asks nothing of any network."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generals_env.errors import ConfigError
from generals_env.replay.files import write_file
from generals_env.replay.recorded_game import RecordedGame
from generals_env.viewer.bundle import asset, fill_template, join_scripts, join_styles
from generals_env.viewer.encoding import EncodedGame, encode_game

__all__ = ["SPEEDS", "Page", "make_page", "show", "write_page"]

#: Turns a second that a page can play; the live game plays two.
SPEEDS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Page:
    """A page; a notebook shows it as the result of a cell.

    Attributes:
        text: The HTML of the whole page.
        height: Height in a notebook, in CSS pixels.
    """

    text: str
    height: int = 720

    def _repr_html_(self) -> str:
        """Return the page in a frame that may run its script, but is a stranger to the notebook around it."""
        return (
            f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(self.text)}" width="100%" height="{self.height}" '
            'style="border:0" title="A game"></iframe>'
        )


def make_page(
    games: Sequence[RecordedGame],
    *,
    title: str = "",
    compare: bool = False,
    player: int | None = None,
    turn: int = 0,
    speed: int = 8,
) -> str:
    """Return the HTML of a page that plays games.

    Names, ids and details of games are data: the page shows them as text, whatever they contain.

    Args:
        games: One game or more; the reader chooses.
        title: Title of the page; "" for the players of the first game.
        compare: Whether the page begins with the first two games side by side.
        player: Player whose view the page begins with; None for the whole board.
        turn: Turn that the page begins with; clipped to those of the game.
        speed: Turns a second, one of ``SPEEDS``.

    Raises:
        ConfigError: If there is no game, an argument is out of range, or the arrays of a game do not belong together.
    """
    if not games:
        raise ConfigError("games: expected one game or more, got none: pass a sequence of RecordedGame")
    if speed not in SPEEDS:
        raise ConfigError(f"speed: expected one of {', '.join(map(str, SPEEDS))}, got {speed!r}")
    if player is not None and not 0 <= player < games[0].players:
        raise ConfigError(f"player: expected None or an index from 0 to {games[0].players - 1}, got {player!r}")
    if compare and len(games) < 2:
        raise ConfigError("compare: expected False with one game, got True: pass two games")
    encoded = [encode_game(game) for game in games]
    for head, _ in encoded:
        head["label"] = label_of(head)
    facts = {
        "games": [head for head, _ in encoded],
        "compare": compare,
        "player": -1 if player is None else player,
        "turn": turn,
        "speed": speed,
    }
    parts = {"title": html.escape(title or encoded[0].head["label"]), "data": data_elements(facts, encoded)}
    return fill_template(asset("page.html"), join_styles(("theme", "viewer")), join_scripts("main"), parts)


def label_of(head: dict[str, Any]) -> str:
    """Return the names of the players, or their number if there are many."""
    names = head["names"]
    return " \u2013 ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} others"


def data_elements(facts: dict[str, Any], encoded: Sequence[EncodedGame]) -> str:
    """Return the elements with the games: JSON in which no character can end the element, and base64."""
    text = json.dumps(facts, ensure_ascii=True, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    elements = [f'<script type="application/json" id="data">{text}</script>']
    elements += [f'<script type="text/plain" id="game-{index}">{body}</script>' for index, (_, body) in enumerate(encoded)]
    return "\n".join(elements)


def write_page(
    games: Sequence[RecordedGame],
    path: str | Path,
    *,
    title: str = "",
    compare: bool = False,
    player: int | None = None,
    turn: int = 0,
    speed: int = 8,
) -> Path:
    """Write a page that plays games: one HTML file for any browser, which loads nothing from a network.

    Args:
        games: One game or more; the reader chooses.
        path: File to write; replaced if it is there.
        title: Title of the page; "" for the players of the first game.
        compare: Whether the page begins with the first two games side by side.
        player: Player whose view the page begins with; None for the whole board.
        turn: Turn that the page begins with; clipped to those of the game.
        speed: Turns a second, one of 1, 2, 4, 8, 16, 32, 64 and 128.

    Returns:
        The path.

    Raises:
        ConfigError: If there is no game, an argument is out of range, or the arrays of a game do not belong together.
        StorageError: If the file cannot be written; nothing half-written stays.
    """
    text = make_page(games, title=title, compare=compare, player=player, turn=turn, speed=speed)
    path = Path(path)
    write_file(path, text.encode())
    return path


def show(
    *games: RecordedGame, compare: bool = False, player: int | None = None, turn: int = 0, speed: int = 8, height: int = 720
) -> Page:
    """Return a page that a notebook shows as the result of a cell.

    Args:
        games: One game or more.
        compare: Whether the page begins with the first two games side by side.
        player: Player whose view the page begins with; None for the whole board.
        turn: Turn that the page begins with; clipped to those of the game.
        speed: Turns a second, one of 1, 2, 4, 8, 16, 32, 64 and 128.
        height: Height in the notebook, in CSS pixels.

    Raises:
        ConfigError: If there is no game, an argument is out of range, or the arrays of a game do not belong together.
    """
    return Page(make_page(games, compare=compare, player=player, turn=turn, speed=speed), height)
