"""Draw the pictures of boards in the README and the docs.

Usage: ``python tools/draw_pictures.py``. It writes into ``docs/images`` of the current folder: ``game.gif``, a game between two
expanders; ``views.png``, a board as a whole and as each player sees it; ``tiles.png``, each kind of tile. It draws two pixels
for each pixel of the page.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import generals_env
from generals_env.actions import Move, encode_action
from generals_env.board_text import parse_board
from generals_env.engine.boards import Boards
from generals_env.rendering.films import save_gif
from generals_env.rendering.image import draw_board
from generals_env.rendering.palette import BACKGROUND
from generals_env.replay.recorded_game import RecordedGame

IMAGES = Path("docs/images")
SCALE = 2

GAME_SEED = 12
GIF_FRAMES = 110
GIF_TILE = 24

TILES = """
A  2  .  #  $40 s
.  .  .  #  .   s
l  #  +9 .  d   d
o  .  .  -3 d   B
"""


def play_game(
    size: int, seed: int, policies: tuple[str, str] = ("expander", "expander"), max_turns: int = 2000
) -> RecordedGame:
    """Return a game of two built-in policies."""
    env = generals_env.make_vec(1, height=size, width=size, max_turns=max_turns)
    env.reset(seed=seed)
    boards, actions = [env.boards()], []
    over = False
    while not over:
        actions.append(env.act(policies)[0].copy())
        _, _, terminated, truncated, _ = env.step(actions[-1][None])
        over = bool((terminated | truncated).all())
        boards.append(env.final_boards if over and env.final_boards is not None else env.boards())
    joined = Boards._make(np.concatenate(field) for field in zip(*boards, strict=True))
    return RecordedGame(joined, np.array(actions), names=policies if len(set(policies)) > 1 else ())


def draw_views(game: RecordedGame, turn: int) -> np.ndarray:
    """Return one board three times: as a whole, and as each of two players sees it."""
    views = [draw_board(game.boards, turn, player, 15, scale=SCALE) for player in (None, 0, 1)]
    gap = np.full((views[0].shape[0], 20, 3), BACKGROUND, np.uint8)
    return np.concatenate([views[0], gap, views[1], gap, views[2]], axis=1)


def draw_tiles() -> np.ndarray:
    """Return a board with each kind of tile, and a move."""
    boards = parse_board(TILES)
    columns = int(boards.games["width"][0])
    for row, column, owner, army in ((0, 0, 0, 12), (0, 1, 0, 35), (1, 0, 0, 7), (1, 1, 0, 128), (1, 2, 0, 1), (3, 4, 1, 60)):
        boards.owner[0, row * columns + column] = owner
        boards.army[0, row * columns + column] = army
    boards.owner[0, 2 * columns + 5], boards.army[0, 2 * columns + 5] = 1, 1234
    boards.army[0, 4 * columns - 1] = 5
    moves = [encode_action(Move(1, 1, 3), 4, columns)]
    return draw_board(boards, tile_size=48, scale=SCALE, moves=moves)


def main() -> None:
    """Write all pictures."""
    game = play_game(20, GAME_SEED)
    print(f"game of {game.turns} turns")
    save_gif(game, IMAGES / "game.gif", tile_size=GIF_TILE, scale=SCALE, max_frames=GIF_FRAMES)
    for name, picture in (("views", draw_views(game, game.turns // 2)), ("tiles", draw_tiles())):
        palette = Image.fromarray(picture).quantize(255, dither=Image.Dither.NONE)
        palette.save(IMAGES / f"{name}.png", optimize=True)
    for path in ("game.gif", "views.png", "tiles.png"):
        print(f"{IMAGES / path}: {(IMAGES / path).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
