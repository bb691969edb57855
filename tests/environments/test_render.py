"""Tests pictures and texts of boards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import generals_env
from generals_env.board_text import parse_board
from generals_env.errors import StorageError
from generals_env.rendering.boards import FOG, PLAYER_COLORS, draw_board, format_board, save_gif

BOARD = """
A . . # 7
. . $12 . .
. # . . .
s d l o +9
. . . . B
"""


def test_text_shows_every_kind_of_tile() -> None:
    lines = format_board(parse_board(BOARD), color=False).splitlines()
    assert lines == [
        "turn 0",
        "  *1   .   .   ^ #47",
        "   .   . #12   .   .",
        "   .   ^   .   .   .",
        "   ~   :   ^   ^   9",
        "   .   .   .   .  *1",
    ]


def test_text_hides_tiles_in_fog() -> None:
    lines = format_board(parse_board(BOARD), player=0, color=False).splitlines()[1:]
    assert [line.split() for line in lines] == [["*1", ".", "?", "?", "?"], [".", ".", "?", "?", "?"], *[["?"] * 5] * 3]


def test_colours_mark_only_owned_tiles() -> None:
    text = format_board(parse_board(BOARD))
    assert text.count("\x1b[0m") == 2
    assert "\x1b[31m" in text
    assert "\x1b[34m" in text


def test_pictures_have_player_colours_and_fog() -> None:
    boards = parse_board(BOARD)
    full, fogged = draw_board(boards, tile_size=20), draw_board(boards, player=0, tile_size=20)
    assert full.shape == fogged.shape == (6 * 20 + 1, 5 * 20 + 1, 3)
    assert full.dtype == np.uint8
    corner = (slice(20, 40), slice(0, 20))
    other = (slice(100, 120), slice(80, 100))
    assert (full[corner] == PLAYER_COLORS[0]).all(-1).any()
    assert (full[other] == PLAYER_COLORS[1]).all(-1).any()
    assert (fogged[corner] == PLAYER_COLORS[0]).all(-1).any()
    assert not (fogged[other] == PLAYER_COLORS[1]).all(-1).any()
    assert (fogged[other] == FOG).all(-1).any()


def test_every_player_count_and_large_armies_can_be_drawn() -> None:
    env = generals_env.parallel_env(players=16, height=16, width=16, render_mode="rgb_array")
    env.reset(seed=0)
    env.game.boards.army[1, :40] = 123456
    picture = env.render()
    assert isinstance(picture, np.ndarray)
    found = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    assert set(PLAYER_COLORS) <= found


def test_render_modes(capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("ansi", "human"):
        env = generals_env.make(map=BOARD, render_mode=mode, render_player=1)
        env.reset()
        text = env.render()
        assert (text is None) == (mode == "human")
        shown = capsys.readouterr().out if text is None else text
        assert "*1" in shown
        assert "?" in shown
        assert ("\x1b[" in shown) == (mode == "human")


def test_gif_holds_all_frames(tmp_path: Path) -> None:
    boards = parse_board(BOARD)
    frames = []
    for army in range(1, 6):
        boards.army[0, 0] = army * 10
        frames.append(draw_board(boards))
    save_gif(frames, tmp_path / "game.gif", milliseconds=50)
    with Image.open(tmp_path / "game.gif") as gif:
        assert gif.n_frames == 5
        assert gif.size == (frames[0].shape[1], frames[0].shape[0])


def test_unwritable_gif_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="path: expected a file that can be written, got"):
        save_gif([draw_board(parse_board(BOARD))], tmp_path / "nowhere" / "game.gif")
