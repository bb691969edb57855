"""Shows boards in a window of pygame.

There is one window for the process: all environments with ``render_mode="human"`` show their games in it.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import cache
from math import ceil, sqrt
from types import ModuleType
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from generals_env.config import RENDER_FPS, GameConfig
from generals_env.engine.boards import Boards
from generals_env.rendering.image import MAX_PIXELS, MIN_PIXELS, TILE_SIZE, draw_board, image_shape
from generals_env.rendering.palette import BACKGROUND

__all__ = ["Window", "open_window"]

TITLE = "generals_env"
GAP = 8  # pixels between games
SCREEN_SHARE = 0.85  # of the screen, at most, at the beginning
DEFAULT_SCREEN = (1280, 800)


class Shown(Protocol):
    """Protocol of the displays whose games the window shows."""

    config: GameConfig
    cells: dict[int, Boards]
    dismissed: bool


class Window:
    """The window. It shows the first games of all environments side by side, at the largest size that fits.

    Attributes:
        most: Maximum of games that are shown at once.
    """

    most = 16

    def __init__(self, pygame: ModuleType) -> None:
        """Open nothing yet; ``show`` does."""
        self._pygame: Any = pygame
        self._clocks: WeakKeyDictionary[Shown, Any] = WeakKeyDictionary()  # of each display; games of lost ones vanish
        self._size = (0, 0)  # in pixels, as it was opened
        self._shape: tuple[int, tuple[int, int]] = (0, (0, 0))  # of what it was opened for

    def show(self, display: Shown) -> None:
        """Draw the games of all displays, handle what the user did, and wait until the next frame of ``display`` is due."""
        clock = self._clocks.setdefault(display, self._pygame.time.Clock())
        screen = self._pygame.display.get_surface()
        games = [boards for boards, _ in self._games()]
        shape = len(games), cell_shape(games, TILE_SIZE)
        is_ours = screen is not None and screen.get_size() == self._size
        if screen is None or (is_ours and shape != self._shape):
            # Nothing is shown yet, other code has closed pygame's window, or other games need another size. A size that the
            # user has chosen stays.
            screen = self._open(games)
            self._size, self._shape = screen.get_size(), shape
        if self._closed_by_user():
            self._dismiss()
            return
        self._draw(screen)
        self._pygame.display.flip()
        clock.tick(RENDER_FPS)

    def remove(self, display: Shown) -> None:
        """Stop showing the games of ``display``; the window closes with the last of them."""
        if self._clocks.pop(display, None) is not None and not self._clocks:
            self._pygame.display.quit()

    def _closed_by_user(self) -> bool:
        """Handle the events of the window; return whether the user closed it."""
        pygame = self._pygame
        closed = False
        for event in pygame.event.get():
            closed |= event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE)
        return closed

    def _dismiss(self) -> None:
        """Close the window; the games go on without it."""
        for display in self._clocks:
            display.dismissed = True
            display.cells.clear()
        self._clocks.clear()
        self._pygame.display.quit()

    def _games(self) -> list[tuple[Boards, int | None]]:
        """Return the boards to show, each with the player whose view is shown."""
        found = [(cell, shown.config.render_player) for shown in self._clocks for cell in shown.cells.values()]
        return found[: self.most]

    def _open(self, games: list[Boards]) -> Any:
        """Open the window, as large as the games need, within the screen."""
        pygame = self._pygame
        if not pygame.display.get_init():
            pygame.display.init()
        columns, rows = grid(len(games))
        desktop = (pygame.display.get_desktop_sizes() or [DEFAULT_SCREEN])[0]
        room = [int(side * SCREEN_SHARE) for side in desktop]
        size = tile_size(games, room[0], room[1], TILE_SIZE)
        height, width = cell_shape(games, size)
        pygame.display.set_caption(TITLE)
        return pygame.display.set_mode((columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), pygame.RESIZABLE)

    def _draw(self, screen: Any) -> None:
        """Draw all games into the window, at the size that it has now."""
        games = self._games()
        columns, rows = grid(len(games))
        width, height = screen.get_size()
        size = tile_size([boards for boards, _ in games], width, height, MAX_PIXELS)
        cell_height, cell_width = cell_shape([boards for boards, _ in games], size)
        left = max(width - (columns * (cell_width + GAP) - GAP), 0) // 2
        top = max(height - (rows * (cell_height + GAP) - GAP), 0) // 2
        screen.fill(BACKGROUND)
        for number, (boards, player) in enumerate(games):
            row, column = divmod(number, columns)
            place = (left + column * (cell_width + GAP), top + row * (cell_height + GAP))
            screen.blit(self._surface(draw_board(boards, 0, player, size)), place)

    def _surface(self, image: npt.NDArray[np.uint8]) -> Any:
        """Return an image as pygame's surface."""
        height, width, _ = image.shape
        return self._pygame.image.frombuffer(image.data, (width, height), "RGB")


def grid(count: int) -> tuple[int, int]:
    """Return the columns and rows of a grid for ``count`` games."""
    columns = max(ceil(sqrt(count)), 1)
    return columns, max(ceil(count / columns), 1)


def cell_shape(games: list[Boards], size: int) -> tuple[int, int]:
    """Return the height and width in pixels that each game gets: those of the largest."""
    shapes = [image_shape(boards, 0, size) for boards in games]
    return max(height for height, _ in shapes), max(width for _, width in shapes)


def tile_size(games: list[Boards], width: int, height: int, largest: int) -> int:
    """Return the largest size in pixels of tiles, at most ``largest``, with which all games fit; both sides are in pixels."""
    columns, rows = grid(len(games))
    room = (height + GAP) // rows - GAP, (width + GAP) // columns - GAP
    tall, wide = cell_shape(games, 100)
    return int(max(min(largest, room[0] * 100 // tall, room[1] * 100 // wide), MIN_PIXELS))


def open_window() -> Window | str:
    """Return the window of this process, or why there is none, as the end of a sentence."""
    if threading.current_thread() is not threading.main_thread():
        return "as only the main thread of a program may show one"
    if not (os.environ.get("SDL_VIDEODRIVER") or sys.platform in ("darwin", "win32")):
        if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            return "as this machine has no display (DISPLAY is not set)"
    return find_window(os.getpid())


@cache
def find_window(_: int) -> Window | str:
    """Return the window of the process with this id, which is the calling one, or why there is none."""
    asked = "PYGAME_HIDE_SUPPORT_PROMPT" in os.environ
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # its greeting would stand among the program's own output
    try:
        import pygame
    except ModuleNotFoundError:
        return 'as pygame is not installed: pip install "generals_env[render]"'
    finally:
        if not asked:
            del os.environ["PYGAME_HIDE_SUPPORT_PROMPT"]
    try:
        pygame.display.init()
    except pygame.error as error:
        return f"as pygame found no display ({error})"
    # Without a display pygame succeeds, too: it draws where no one can see it.
    if pygame.display.get_driver() in ("offscreen", "dummy") and not os.environ.get("SDL_VIDEODRIVER"):
        pygame.display.quit()
        return "as pygame found no display"
    return Window(pygame)
