"""Renders the games of an environment in its ``render_mode``: as images, as texts, in a window, or printed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from generals_env.config import RENDER_MODES, GameConfig
from generals_env.engine.boards import Boards, copy_boards
from generals_env.errors import StateError
from generals_env.rendering.image import draw_board
from generals_env.rendering.text import format_board
from generals_env.rendering.window import Window, open_window

__all__ = ["Display"]

#: Reasons that were written to standard error: each once in a process.
EXPLAINED: set[str] = set()


class Display:
    """Renders the games of one environment. Copies and pickles of it show nothing until they are used.

    Attributes:
        config: Configuration of the games, with ``render_mode`` and ``render_player``.
        cells: Boards that the window shows by number of the game.
        dismissed: Whether the window was closed by its user; only ``render`` opens it again.
    """

    def __init__(self, config: GameConfig) -> None:
        """Open nothing yet."""
        self.config = config
        self.cells: dict[int, Boards] = {}
        self.dismissed = False
        self._window: Window | None = None

    def render(self, boards: Boards, games: Sequence[int], asked: bool = True) -> tuple[Any, ...]:
        """Return an image or a text of each game, depending on ``render_mode``; ``"human"`` shows the games.

        Args:
            boards: The boards.
            games: Indices of the games.
            asked: Whether the user called for it, and not the environment after a turn.

        Raises:
            StateError: Without a render mode.
        """
        mode, player = self.config.render_mode, self.config.render_player
        if mode is None:
            raise StateError(
                f"render: expected a render_mode, got None: make the environment with one of {', '.join(RENDER_MODES)}"
            )
        if mode == "rgb_array":
            return tuple(draw_board(boards, b, player) for b in games)
        if mode == "ansi":
            return tuple(format_board(boards, b, player, color=False) for b in games)
        self._show(boards, games, asked)
        return (None,) * len(games)

    def _show(self, boards: Boards, games: Sequence[int], asked: bool) -> None:
        """Show games in the window, or print them."""
        self.dismissed &= not asked
        if self.dismissed:
            return
        window = open_window()
        if isinstance(window, Window):
            for b in games[: window.most]:
                self.cells[b] = copy_boards(boards, slice(b, b + 1))
            self._window = window
            window.show(self)
            return
        for b in games:
            print(format_board(boards, b, self.config.render_player), flush=True)  # noqa: T201 - the purpose of this mode
        if window not in EXPLAINED:
            EXPLAINED.add(window)
            sys.stderr.write(f'render_mode="human": boards are printed instead of shown in a window, {window}\n')

    def close(self) -> None:
        """Remove the games from the window, which closes with the last of them; calling it twice is allowed."""
        self.cells.clear()
        if self._window is not None:
            self._window.remove(self)
            self._window = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the configuration only: a window belongs to one process."""
        return type(self), (self.config,)
