"""Lets environments render and show their games; what draws is imported when it is first needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from generals_env.config import GameConfig
from generals_env.engine.boards import Boards

if TYPE_CHECKING:
    from generals_env.rendering.display import Display

__all__ = ["ShowsGames"]


class ShowsGames:
    """Base class of environments: renders their games in ``render_mode``, and shows them in notebooks."""

    render_mode: str | None
    _display: Display | None = None

    def _games_to_show(self) -> tuple[Boards, Sequence[int], GameConfig] | None:
        """Return the boards, the indices of the games in them and the configuration; None while there are no games."""
        raise NotImplementedError

    def _rendered(self, games: Sequence[int] | None = None, asked: bool = True) -> tuple[Any, ...]:
        """Return an image or a text of each game, or show the games.

        Args:
            games: Indices of the games; None for all.
            asked: Whether the user asked for it: that opens a window again which was closed.
        """
        found = self._games_to_show()
        if found is None:
            return ()
        boards, all_games, config = found
        if self._display is None:
            from generals_env.rendering.display import Display

            self._display = Display(config)
        return self._display.render(boards, all_games if games is None else games, asked)

    def _show(self) -> None:
        """Show the games after a reset or a turn, if ``render_mode`` is ``"human"``."""
        if self.render_mode == "human":
            self._rendered(asked=False)

    def _close_display(self) -> None:
        """Remove the games from the window, if they are shown in one."""
        if self._display is not None:
            self._display.close()

    def _repr_html_(self) -> str | None:
        """Return the games as pictures, for notebooks; None, so that they show the text, while there are no games."""
        found = self._games_to_show()
        if found is None:
            return None
        from generals_env.rendering.notebook import boards_html

        boards, games, config = found
        return boards_html(boards, games, config.render_player)
