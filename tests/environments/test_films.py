"""Tests films: GIFs of pictures, and GIFs and MP4s of recorded games."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence
from support.films import read_film

import generals_env
from generals_env.board_text import parse_board
from generals_env.engine.boards import Boards
from generals_env.errors import ConfigError, StorageError
from generals_env.rendering import films
from generals_env.rendering.films import GameFrames, save_mp4
from generals_env.rendering.gif import save_gif
from generals_env.rendering.image import draw_board
from generals_env.replay.recorded_game import RecordedGame

TURNS = 12


@pytest.fixture(scope="module")
def game() -> RecordedGame:
    env = generals_env.make_vec(1, height=6, width=6, max_turns=100)
    env.reset(seed=4)
    boards, actions = [env.boards()], []
    for _ in range(TURNS):
        actions.append(env.act(("expander", "expander"))[0].copy())
        env.step(actions[-1][None])
        boards.append(env.boards())
    joined = Boards._make(np.concatenate(field) for field in zip(*boards, strict=True))
    return RecordedGame(joined, np.array(actions), names=("Ann", "Bob"))


def gif_frames(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the images of a GIF, and how many milliseconds each stays."""
    with Image.open(path) as gif:
        for frame in ImageSequence.Iterator(gif):
            yield np.asarray(frame.convert("RGB")), frame.info["duration"]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.int64) - other).mean())


def test_gif_holds_all_frames(tmp_path: Path) -> None:
    boards = parse_board("A . . .\n. . . .\n. . . .\n. . . B")
    frames = []
    for army in (10, 20, 20, 30, 40):
        boards.army[0, 0] = army
        frames.append(draw_board(boards))
    written: list[int] = []
    save_gif(frames, tmp_path / "game.gif", milliseconds=50, on_frame=written.append)
    found = list(gif_frames(tmp_path / "game.gif"))
    assert [milliseconds for _, milliseconds in found] == [50, 100, 50, 2000]  # equal images are one that stays longer
    for (image, _), expected in zip(found, [frames[0], *frames[2:]], strict=True):
        assert difference(image, expected) < 1
    assert written == [1, 2, 3, 4, 5]
    with Image.open(tmp_path / "game.gif") as gif:
        assert gif.info["loop"] == 0


def test_gif_of_many_colours_is_close_to_them(tmp_path: Path) -> None:
    frames = list(np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8))
    save_gif(frames, tmp_path / "noise.gif")
    for (image, _), expected in zip(gif_frames(tmp_path / "noise.gif"), frames, strict=True):
        assert difference(image, expected) < 25


def test_gif_of_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="frames: expected at least one image, got none"):
        save_gif([], tmp_path / "game.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("player", [None, 1])
def test_game_gif_shows_every_turn(player: int | None, game: RecordedGame, tmp_path: Path) -> None:
    films.save_gif(game, tmp_path / "game.gif", player=player, tile_size=16, arrows=True)
    expected = GameFrames(game, player, 16, arrows=True)
    found = list(gif_frames(tmp_path / "game.gif"))
    assert len(found) == len(expected) == TURNS + 1  # the number of the turn changes in each
    for (image, _), picture in zip(found, expected, strict=True):
        assert difference(image, picture) < 1.5


def test_game_frames_skip_turns_evenly_and_keep_the_end(game: RecordedGame) -> None:
    assert GameFrames(game, max_frames=5).turns.tolist() == [0, 3, 6, 9, 12]
    assert GameFrames(game, max_frames=1).turns.tolist() == [12]
    assert GameFrames(game, max_frames=100).turns.tolist() == list(range(13))
    with pytest.raises(ConfigError, match="max_frames: expected an integer from 1"):
        GameFrames(game, max_frames=0)
    with pytest.raises(ConfigError, match="player: expected an integer from 0 to 1, got 2"):
        GameFrames(game, 2)


def test_mp4_shows_every_turn_and_stays_at_the_end(game: RecordedGame, tmp_path: Path) -> None:
    written: list[int] = []
    save_mp4(game, tmp_path / "game.mp4", fps=4, on_frame=written.append)
    found, fps, pixels_format = read_film(tmp_path / "game.mp4")
    assert fps == 4
    assert pixels_format == "yuv420p"  # which browsers can show
    expected = list(GameFrames(game))
    assert len(found) == len(expected) + 2 * 4 - 1  # two seconds
    for image, picture in zip(found, expected, strict=False):
        assert difference(image, picture) < 5
    assert difference(found[-1], expected[-1]) < 5
    assert written == list(range(1, TURNS + 2))
    assert [path.name for path in tmp_path.iterdir()] == ["game.mp4"]


def test_mp4_shows_the_view_of_a_player_at_twice_the_size(game: RecordedGame, tmp_path: Path) -> None:
    save_mp4(game, tmp_path / "game.mp4", player=1, tile_size=13, scale=2, arrows=False, max_frames=2)
    film = read_film(tmp_path / "game.mp4")
    assert difference(film.frames[0], draw_board(game.boards, 0, 1, 26, names=game.names)) < 5


@pytest.mark.parametrize("save", [films.save_gif, save_mp4])
@pytest.mark.parametrize("name", ["nowhere/game.film", "folder", "file/game.film"])
def test_films_that_cannot_be_written_leave_nothing(save: Any, name: str, game: RecordedGame, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="path: expected a f"):
        save(game, tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("save", [films.save_gif, save_mp4])
def test_interrupted_films_leave_the_former_file(save: Any, game: RecordedGame, tmp_path: Path) -> None:
    def interrupt(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    (tmp_path / "game.film").write_text("former")
    with pytest.raises(KeyboardInterrupt):
        save(game, tmp_path / "game.film", on_frame=interrupt)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("game.film", "former")]


def test_mp4_names_what_ffmpeg_says_when_it_fails(game: RecordedGame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "ffmpeg"
    failing.write_text("#!/bin/sh\necho the disk is full >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(failing))
    with pytest.raises(StorageError, match=r"expected a film that ffmpeg can write, got .*the disk is full"):
        save_mp4(game, tmp_path / "game.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["ffmpeg"]


def test_mp4_without_ffmpeg_names_the_extra(game: RecordedGame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r'pip install "generals_env\[render\]"'):
        save_mp4(game, tmp_path / "game.mp4")


@pytest.mark.parametrize("fps", [0, -1, float("nan"), 1000, "10", True])
def test_mp4_refuses_impossible_rates(fps: Any, game: RecordedGame, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fps: expected a number above 0 and at most 240"):
        save_mp4(game, tmp_path / "game.mp4", fps=fps)
