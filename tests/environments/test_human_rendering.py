"""Tests ``render_mode="human"`` (the board is shown once after each reset and turn) and ``render_fps``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from pettingzoo.utils.conversions import aec_to_parallel, parallel_to_aec
from pettingzoo.utils.wrappers import OrderEnforcingWrapper
from support.films import read_film

import generals_env
from generals_env import ENV_ID
from generals_env.recorders import ExperienceRecorder
from generals_env.rendering.image import draw_board
from generals_env.single import GeneralsSingle
from generals_env.wrappers import FogMemory, FrameStack, PotentialShaping, RandomSymmetry

SMALL: dict[str, Any] = {"height": 6, "width": 6, "max_turns": 3}
PASS = 288

ShownLines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def without_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let boards be printed also where a window could open; ``test_window`` tests that."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> ShownLines:
    """Return a function that gives the first lines of the boards shown since its last call."""
    return lambda: [line for line in capsys.readouterr().out.splitlines() if line.startswith("turn ")]


def single(**options: Any) -> Any:
    """Return an environment for one learner, as Gymnasium makes it."""
    return gymnasium.make(ENV_ID, **SMALL, **options)


def many(**options: Any) -> Any:
    """Return two games for one learner each, as Gymnasium makes them."""
    return gymnasium.make_vec(ENV_ID, num_envs=2, **SMALL, **options)


def sb3(**options: Any) -> Any:
    """Return the vector environment of SB3."""
    pytest.importorskip("stable_baselines3")
    from generals_env.wrappers import SB3VecEnv

    return SB3VecEnv(many(**options))


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
    "make in OrderEnforcing": (lambda **options: OrderEnforcingWrapper(generals_env.make(**SMALL, **options)), 1),
    "make as a parallel one": (lambda **options: aec_to_parallel(generals_env.make(**SMALL, **options)), 1),
    "parallel_env": (lambda **options: generals_env.parallel_env(**SMALL, **options), 1),
    "parallel_env as an AEC one": (lambda **options: parallel_to_aec(generals_env.parallel_env(**SMALL, **options)), 1),
    "make_vec": (lambda **options: generals_env.make_vec(2, **SMALL, **options), 2),
    "GeneralsSingle": (lambda **options: GeneralsSingle(**SMALL, **options), 1),
    "gymnasium.make": (single, 1),
    "gymnasium.make_vec": (many, 2),
    "gymnasium.make_vec in sync": (lambda **options: many(vectorization_mode="sync", **options), 2),
    "wrappers": (lambda **options: RandomSymmetry(FrameStack(FogMemory(PotentialShaping(single(**options))))), 1),
    "vector wrappers": (lambda **options: RandomSymmetry(FrameStack(FogMemory(PotentialShaping(many(**options))))), 2),
    "SB3VecEnv": (sb3, 2),
}


@pytest.mark.parametrize("face", FACES)
def test_human_mode_shows_board_after_reset_and_each_turn(face: str, shown: ShownLines) -> None:
    make, count = FACES[face]
    env = make(render_mode="human")
    assert shown() == []
    env.reset()
    assert shown() == ["turn 0"] * count
    for turn in (1, 2):
        step(env)
        assert shown() == [f"turn {turn}"] * count
    env.reset()
    assert shown() == ["turn 0"] * count
    env.close()


@pytest.mark.parametrize("face", ["make", "parallel_env", "make_vec", "gymnasium.make", "gymnasium.make_vec", "SB3VecEnv"])
def test_human_mode_shows_recorded_board_once(face: str, shown: ShownLines, tmp_path: Path) -> None:
    make, count = FACES[face]
    with ExperienceRecorder(make(render_mode="human"), tmp_path / "runs") as env:
        env.reset()
        step(env)
        assert shown() == [turn for turn in ("turn 0", "turn 1") for _ in range(count)]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("mode", [None, "ansi", "rgb_array"])
def test_other_modes_show_nothing(face: str, mode: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    env = FACES[face][0](render_mode=mode)
    env.reset()
    step(env)
    env.close()
    assert capsys.readouterr().out == ""


def test_human_mode_shows_aec_turn_after_last_choice(shown: ShownLines) -> None:
    env = generals_env.make(players=3, height=8, width=8, max_turns=2, render_mode="human")
    env.reset(seed=1)
    assert shown() == ["turn 0"]
    found = []
    for _ in range(6):
        env.step(8 * 64)
        found.append(shown())
    assert found == [[], [], ["turn 1"], [], [], ["turn 2"]]
    while env.agents:  # the game is over: nothing moves any more
        env.step(None)
    assert shown() == []


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_human_mode_shows_automatically_reset_games(mode: AutoresetMode, shown: ShownLines) -> None:
    env = many(render_mode="human", autoreset_mode=mode)
    env.reset()
    for _ in range(4):
        step(env)
    turns = [0, 1, 2, 0, 1] if mode is AutoresetMode.SAME_STEP else [0, 1, 2, 3, 0]
    assert shown() == [f"turn {turn}" for turn in turns for _ in range(2)]


def test_human_mode_shows_view_of_render_player(capsys: pytest.CaptureFixture[str]) -> None:
    text = {}
    for player in (None, 1):
        env = generals_env.parallel_env(render_mode="human", render_player=player, **SMALL)
        env.reset(seed=1)
        text[player] = capsys.readouterr().out
        assert env.render() is None  # and shows it again
        assert capsys.readouterr().out == text[player]
    assert "?" in text[1]
    assert "?" not in text[None]


def test_human_mode_shows_nothing_during_play(shown: ShownLines) -> None:
    env = generals_env.make_vec(2, render_mode="human", **SMALL)
    env.reset(seed=1)
    shown()
    env.play(2, ("random", "random"))
    assert shown() == []
    env.render()
    assert shown() == ["turn 2", "turn 2"]


# --- Other libraries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("face", FACES)
def test_metadata_has_ten_frames_a_second_in_every_environment(face: str) -> None:
    env = FACES[face][0](render_mode="rgb_array")
    metadata = env.envs[0].metadata if face == "gymnasium.make_vec in sync" else env.metadata
    assert metadata["render_fps"] == 10
    assert "human" in metadata["render_modes"]


def test_gymnasium_human_rendering_shows_our_pictures_in_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    pygame = pytest.importorskip("pygame", reason="the window is pygame's")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    from gymnasium.wrappers import HumanRendering

    window = HumanRendering(single(render_mode="rgb_array"))
    window.reset(seed=1)
    step(window)
    height, width, _ = draw_board(generals_env.parallel_env(**SMALL).config.empty_boards(1)).shape
    assert pygame.display.get_surface().get_size() == (width, height)
    window.close()


def test_gymnasium_record_video_films_our_batches_at_ten_frames_a_second(tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="the films are MoviePy's")
    from gymnasium.wrappers.vector import RecordVideo

    env = many(render_mode="rgb_array", autoreset_mode="NEXT_STEP")  # else Gymnasium warns that last frames are missing
    film = RecordVideo(env, str(tmp_path / "film"), episode_trigger=lambda episode: episode == 0)
    film.reset(seed=1)
    for _ in range(3):
        step(film)
    film.close()
    assert film.frames_per_sec == 10
    assert [path.name for path in (tmp_path / "film").iterdir()] == ["rl-video-episode-0.mp4"]


@pytest.mark.parametrize("face", ["make", "parallel_env", "gymnasium.make", "SB3VecEnv"])
def test_video_recorders_film_our_pictures(face: str, tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="the films are MoviePy's")
    make, games = FACES[face]
    film = recorder(face, make(render_mode="rgb_array"), tmp_path / "film")  # the libraries warn of a folder that exists
    film.reset()
    for _ in range(3):
        step(film)
    film.close()
    (path,) = (tmp_path / "film").glob("*.mp4")
    recorded = read_film(path)
    height, width, _ = draw_board(generals_env.parallel_env(**SMALL).config.empty_boards(1)).shape
    assert recorded.frames.shape[1:] == (games * height, width, 3)  # SB3 puts two games one above the other
    assert recorded.fps == 10
    assert recorded.pixels == "yuv420p"  # which browsers can show


def recorder(face: str, env: Any, folder: Path) -> Any:
    """Return ``env`` in the video recorder of its own library."""
    if face == "gymnasium.make":
        return gymnasium.wrappers.RecordVideo(env, str(folder), episode_trigger=lambda episode: episode == 0)
    if face == "SB3VecEnv":
        from stable_baselines3.common.vec_env import VecVideoRecorder

        return VecVideoRecorder(env, str(folder), record_video_trigger=lambda number: number == 0, video_length=2)
    pettingzoo = pytest.importorskip("pettingzoo.utils.wrappers")
    name = "RecordVideo" if face == "make" else "RecordVideoParallel"
    if not hasattr(pettingzoo, name):
        pytest.skip("this PettingZoo has no video recorder")
    return getattr(pettingzoo, name)(env, str(folder), episode_trigger=lambda episode: episode == 0)
