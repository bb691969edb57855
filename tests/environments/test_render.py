"""Tests pictures and texts of boards."""

from __future__ import annotations

import base64
import io
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

import generals_env
from generals_env.actions import Move, encode_action
from generals_env.board_text import parse_board
from generals_env.errors import ConfigError
from generals_env.rendering import sprites
from generals_env.rendering.image import draw_board
from generals_env.rendering.lettering import army_text
from generals_env.rendering.palette import BACKGROUND, FOG, PLAYER_COLORS
from generals_env.rendering.sprites import sprites_of
from generals_env.rendering.text import format_board
from generals_env.single import GeneralsSingle

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
    assert full.shape == fogged.shape == (7 * 20, 5 * 20, 3)  # on so narrow a board the turn and the scores need a row each
    assert full.dtype == np.uint8
    corner = (slice(40, 60), slice(0, 20))
    other = (slice(120, 140), slice(80, 100))
    assert (full[corner] == PLAYER_COLORS[0]).all(-1).any()
    assert (full[other] == PLAYER_COLORS[1]).all(-1).any()
    assert (fogged[corner] == PLAYER_COLORS[0]).all(-1).any()
    assert not (fogged[other] == PLAYER_COLORS[1]).all(-1).any()
    assert (fogged[other] == FOG).all(-1).any()


def test_pictures_are_the_same_whatever_was_drawn_before() -> None:
    env = generals_env.parallel_env(height=8, width=8, max_turns=60)
    env.reset(seed=5)
    seen: list[tuple[Any, np.ndarray]] = []
    rng = np.random.default_rng(0)
    for _ in range(30):
        env.step({agent: int(rng.integers(513)) for agent in env.agents})
        board = env.board()
        seen.append((board, draw_board(board, player=0, tile_size=18)))
    sprites_of.cache_clear()
    for board, picture in reversed(seen):
        assert (draw_board(board, player=0, tile_size=18) == picture).all()


def test_tiles_are_drawn_again_when_their_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    boards = parse_board(BOARD)
    monkeypatch.setattr(sprites, "MAX_BYTES", 40 * 16 * 16 * 3)
    sprites_of.cache_clear()
    for army in range(1, 60):
        boards.army[0, 0] = army
        few = draw_board(boards, tile_size=16)
        assert len(sprites_of(16)._places) <= 40
    monkeypatch.undo()
    sprites_of.cache_clear()
    assert (draw_board(boards, tile_size=16) == few).all()


def test_threads_share_drawn_tiles() -> None:
    sprites_of.cache_clear()
    env = generals_env.parallel_env(height=8, width=8)
    env.reset(seed=1)
    boards = [env.board() for _ in range(16)]
    for number, board in enumerate(boards):
        board.army[0] += number * np.arange(64, dtype=np.int32)
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(draw_board, boards))
    sprites_of.cache_clear()
    assert all((draw_board(board) == picture).all() for board, picture in zip(boards, drawn, strict=True))


def test_pictures_have_even_sides_and_scale() -> None:
    boards = parse_board(BOARD)
    assert draw_board(boards).shape == (7 * 32, 5 * 32, 3)
    assert draw_board(boards, tile_size=13).shape == (92, 66, 3)  # 91 and 65 pixels of tiles: codecs want even sides
    assert (draw_board(boards, tile_size=13, scale=2) == draw_board(boards, tile_size=26)).all()
    assert draw_board(boards).flags.writeable


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": 0}, "tile_size: expected an integer from 4 to 256, got 0"),
        ({"scale": "2"}, "scale: expected a number that makes tiles 4 to 256 pixels large, got '2'"),
        ({"scale": 100.0}, "scale: expected a number that makes tiles 4 to 256 pixels large, got 100.0"),
        ({"scale": float("nan")}, "scale: expected a number"),
    ],
)
def test_sizes_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        draw_board(parse_board(BOARD), **options)


def test_each_kind_of_tile_looks_different() -> None:
    board = parse_board(BOARD)
    looks = {}
    image = draw_board(board, tile_size=20)[2 * 20 :]
    for name, (row, column) in {
        "general": (0, 0),
        "plain": (0, 1),
        "mountain": (0, 3),
        "city": (0, 4),
        "swamp": (3, 0),
        "desert": (3, 1),
        "lookout": (3, 2),
        "observatory": (3, 3),
        "army": (3, 4),
        "other general": (4, 4),
    }.items():
        looks[image[row * 20 : row * 20 + 20, column * 20 : column * 20 + 20].tobytes()] = name
    assert len(looks) == 10


def test_fog_hides_which_obstacles_are_cities() -> None:
    pictures = []
    for other in ("#", "$40"):
        boards = parse_board(f"A . . . .\n. . . . .\n. . . . .\n. . . . {other}\n. . . . B")
        assert (draw_board(boards) != draw_board(boards, player=0)).any()
        pictures.append(draw_board(boards, player=0))
    assert (pictures[0] == pictures[1]).all()


def test_smaller_boards_are_drawn_without_their_padding() -> None:
    env = generals_env.parallel_env(height=(6, 12), width=(6, 12))
    sizes = set()
    for seed in range(6):
        env.reset(seed=seed)
        board = env.board()
        rows, columns = int(board.games["rows"][0]), int(board.games["columns"][0])
        image = draw_board(board, tile_size=10)
        field = image[image.shape[0] - 120 :]
        assert (field[rows * 10 :] == BACKGROUND).all()
        assert (field[:, columns * 10 :] == BACKGROUND).all()
        assert (field[: rows * 10, : columns * 10] != BACKGROUND).any(-1).mean() > 0.7
        sizes.add((rows, columns))
    assert len(sizes) > 1


def test_moves_are_drawn_as_arrows_between_tiles() -> None:
    boards = parse_board(BOARD)
    plain = draw_board(boards, tile_size=20)
    moves = [encode_action(Move(0, 0, 3), 5, 5), encode_action(Move(4, 4, 0, True), 5, 5)]
    changed = (draw_board(boards, tile_size=20, moves=moves) != plain).any(-1)[40:]
    assert changed[:20, :40].any()  # between the tiles (0, 0) and (0, 1)
    assert changed[60:, 80:].any()
    changed[:20, :40] = changed[60:, 80:] = False
    assert not changed.any()
    own = (draw_board(boards, player=0, tile_size=20, moves=moves) != draw_board(boards, player=0, tile_size=20)).any(-1)
    assert own[40:60, :40].any()
    assert not own[60:].any()  # the other player's move is not shown
    for nothing in (200, 201, 224, -1):  # the pass, builds, unknown
        assert (draw_board(boards, tile_size=20, moves=[nothing, nothing]) == plain).all()
    assert (draw_board(boards, tile_size=20, moves=[encode_action(Move(0, 0, 0), 5, 5)]) != plain).any()  # off a torus


def test_names_are_drawn_beside_scores_and_cut_off() -> None:
    boards = parse_board(BOARD)
    named = draw_board(boards, names=["Ann", "W" * 5000])
    assert named.shape[1] == 5 * 32
    assert (named != draw_board(boards, names=["Bob", "W" * 5000])).any()
    assert (named == draw_board(boards, names=["Ann", "W" * 50])).all()


@pytest.mark.parametrize("name", ["a\nb\0\t", "\u202eabc", "\ud800", "\U0001f600", "e\u0301" * 40, "", " "])
def test_names_of_any_letters_are_drawn(name: str) -> None:
    boards = parse_board(BOARD)
    assert draw_board(boards, names=[name, name]).shape == draw_board(boards, names=["Ann", "Bob"]).shape


@pytest.mark.parametrize(
    ("army", "text"), [(7, "7"), (-12, "-12"), (9999, "9999"), (10000, "10k"), (999999, "999k"), (2**31 - 1, "2147M")]
)
def test_armies_are_written_with_at_most_five_characters(army: int, text: str) -> None:
    assert army_text(army) == text


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


def html_pictures(page: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


@pytest.mark.parametrize("face", ["make", "parallel_env", "GeneralsSingle"])
def test_environments_show_their_board_in_notebooks(face: str) -> None:
    make = GeneralsSingle if face == "GeneralsSingle" else getattr(generals_env, face)
    env = make(height=6, width=6, render_player=0)
    assert env._repr_html_() is None
    env.reset(seed=1)
    page = env._repr_html_()
    (picture,) = html_pictures(page)
    boards = env.games.boards() if face == "GeneralsSingle" else env.board()
    expected = draw_board(boards, 0, 0, 20, scale=2)
    assert picture.size == (expected.shape[1], expected.shape[0])
    assert np.abs(np.asarray(picture.convert("RGB"), np.int64) - expected).mean() < 4  # it has a palette
    assert f'width="{expected.shape[1] // 2}"' in page
    assert "turn 0" in page
    assert "script" not in page
    env.close()


def test_vector_environments_show_four_games_in_notebooks() -> None:
    env = generals_env.make_vec(6, height=6, width=6)
    assert env._repr_html_() is None
    env.reset(seed=1)
    page = env._repr_html_()
    assert len(html_pictures(page)) == 4
    assert "4 of 6 games" in page
    env.close()
    assert env._repr_html_() is None
