"""Tests the window of ``render_mode="human"``, drawn by pygame with SDL's driver for machines without a screen."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.helpers import PATIENCE

import generals_env
from generals_env import ENV_ID
from generals_env.rendering import display, window
from generals_env.rendering.image import draw_board
from generals_env.rendering.palette import PLAYER_COLORS

pygame = pytest.importorskip("pygame", reason="the window is pygame's")

SMALL: dict[str, Any] = {"height": 6, "width": 6, "max_turns": 50}
PASS = 288


@pytest.fixture(autouse=True)
def fresh_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin and end without a window."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window.find_window.cache_clear()
    display.EXPLAINED.clear()
    yield
    pygame.display.quit()
    window.find_window.cache_clear()


def many(**options: Any) -> Any:
    return generals_env.make_vec(2, **SMALL, **options)


def sb3(**options: Any) -> Any:
    pytest.importorskip("stable_baselines3")
    from generals_env.wrappers import SB3VecEnv

    return SB3VecEnv(gymnasium.make_vec(ENV_ID, num_envs=2, **SMALL, **options))


def step(env: Any) -> None:
    """Play a turn in which all pass."""
    if hasattr(env, "agent_iter"):
        for _ in list(env.agents):
            env.step(PASS)
    elif hasattr(env, "possible_agents"):
        env.step(dict.fromkeys(env.agents, PASS))
    else:
        env.step(np.full((env.num_envs,) if hasattr(env, "step_wait") else env.action_space.shape, PASS))


#: Faces, and how many games each shows.
FACES: dict[str, tuple[Callable[..., Any], int]] = {
    "make": (lambda **options: generals_env.make(**SMALL, **options), 1),
    "parallel_env": (lambda **options: generals_env.parallel_env(**SMALL, **options), 1),
    "make_vec": (many, 2),
    "gymnasium.make": (lambda **options: gymnasium.make(ENV_ID, **SMALL, **options), 1),
    "gymnasium.make_vec in sync": (
        lambda **options: gymnasium.make_vec(ENV_ID, num_envs=2, vectorization_mode="sync", **SMALL, **options),
        2,
    ),
    "SB3VecEnv": (sb3, 2),
}


def pixels() -> np.ndarray:
    """Return what the window shows, (height, width, 3) uint8."""
    return np.asarray(pygame.surfarray.array3d(pygame.display.get_surface())).swapaxes(0, 1)


def is_open() -> bool:
    return bool(pygame.display.get_init()) and pygame.display.get_surface() is not None


@pytest.mark.parametrize("face", FACES)
def test_window_shows_every_game_of_a_face(face: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, games = FACES[face]
    env = make(render_mode="human")
    env.reset()
    step(env)
    found = pixels()
    picture = draw_board(generals_env.make_vec(1, **SMALL).config.empty_boards(1))
    height, width, _ = picture.shape
    assert found.shape == (height, games * (width + window.GAP) - window.GAP, 3)
    for game in range(games):
        part = found[:, game * (width + window.GAP) :][:, :width].reshape(-1, 3)
        assert {PLAYER_COLORS[0], PLAYER_COLORS[1]} <= set(map(tuple, part.tolist()))
    env.close()
    assert not is_open()
    written = capsys.readouterr()
    assert written.out == written.err == ""


def test_window_shows_the_board_of_this_turn_and_player() -> None:
    env = generals_env.parallel_env(render_mode="human", render_player=1, **SMALL)
    env.reset(seed=3)
    assert (pixels() == draw_board(env.board(), 0, 1)).all()
    before = pixels()
    for _ in range(2):
        step(env)
    assert (pixels() == draw_board(env.board(), 0, 1)).all()
    assert (pixels() != before).any()


def test_window_shares_its_room_between_environments() -> None:
    first, second = (generals_env.parallel_env(render_mode="human", **SMALL) for _ in range(2))
    first.reset(seed=1)
    narrow = pixels().shape[1]
    second.reset(seed=2)
    assert pixels().shape[1] == 2 * narrow + window.GAP
    first.close()
    assert is_open()
    second.close()
    assert not is_open()


def test_window_shows_turns_at_the_rate_of_the_metadata() -> None:
    env = generals_env.parallel_env(render_mode="human", **SMALL)
    env.reset(seed=1)
    began = time.monotonic()
    for _ in range(3):
        step(env)
    assert time.monotonic() - began > 0.9 * 3 / env.metadata["render_fps"]


def test_closed_window_lets_the_game_go_on_without_output(capsys: pytest.CaptureFixture[str]) -> None:
    env = generals_env.parallel_env(render_mode="human", **SMALL)
    env.reset(seed=1)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    step(env)
    assert not is_open()
    step(env)
    env.reset()
    assert not is_open()
    assert env.render() is None  # asked for: it opens again
    assert is_open()
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))
    step(env)
    assert not is_open()
    assert capsys.readouterr().out == ""


def test_window_draws_boards_at_the_size_it_is_given() -> None:
    env = generals_env.parallel_env(render_mode="human", **SMALL)
    env.reset(seed=1)
    pygame.display.set_mode((700, 500), pygame.RESIZABLE)  # as SDL does when a user drags the border
    step(env)
    tile = 62  # eight rows of it fit into 500 pixels
    top, left = (500 - 8 * tile) // 2, (700 - 6 * tile) // 2
    assert (pixels()[top : top + 8 * tile, left : left + 6 * tile] == draw_board(env.board(), 0, None, tile)).all()


def test_window_opens_again_after_other_code_closed_pygame() -> None:
    env = generals_env.parallel_env(render_mode="human", **SMALL)
    env.reset(seed=1)
    pygame.quit()
    step(env)
    assert (pixels() == draw_board(env.board())).all()


def test_copies_and_pickles_of_shown_environments_show_their_own_games() -> None:
    env = generals_env.make(render_mode="human", **SMALL)
    env.reset(seed=1)
    width = pixels().shape[1]
    for other in (copy.deepcopy(env), pickle.loads(pickle.dumps(env)), env.clone()):
        step(other)
        assert pixels().shape[1] > width
        other.close()
        assert is_open()


def test_display_without_pygame_prints_and_says_once_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    env = generals_env.parallel_env(render_mode="human", **SMALL)
    env.reset(seed=1)
    step(env)
    written = capsys.readouterr()
    assert [line for line in written.out.splitlines() if line.startswith("turn")] == ["turn 0", "turn 1"]
    assert written.err.count("\n") == 1
    assert 'pip install "generals_env[render]"' in written.err


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="these systems always have a display")
def test_display_prints_where_pygame_only_pretends_to_show(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":4711")  # no server: pygame falls back to a driver that draws into memory
    env = generals_env.parallel_env(render_mode="human", **SMALL)
    env.reset(seed=1)
    written = capsys.readouterr()
    assert "turn 0" in written.out
    assert "found no display" in written.err
    assert not is_open()


def test_other_threads_print() -> None:
    env = generals_env.parallel_env(render_mode="human", **SMALL)
    thread = threading.Thread(target=env.reset)
    thread.start()
    thread.join(PATIENCE)
    assert not is_open()


def test_pygame_is_imported_only_for_the_window_and_greets_no_one() -> None:
    code = (
        "import sys, generals_env\n"
        "for mode in ('ansi', 'rgb_array', 'human'):\n"
        "    assert 'pygame' not in sys.modules\n"
        "    env = generals_env.parallel_env(height=6, width=6, render_mode=mode)\n"
        "    env.reset(seed=1); env.render(); env.close()\n"
        "assert 'pygame' in sys.modules\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
