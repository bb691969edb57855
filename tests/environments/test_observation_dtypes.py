"""Tests observations as float16 and uint8, packed boards, and torch tensors of the environment's memory, beside float32."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from support import naive
from support.helpers import Options, same

import generals_env
from generals_env import ENV_ID, ConfigError, StateError
from generals_env.observations.dtypes import DTYPES, to_float32
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers import FogMemory, FrameStack, Opponent, PotentialShaping, RandomSymmetry

KINDS: dict[str, Options] = {
    "2 players": {"height": 6, "width": 7},
    "8 players on drawn sizes": {"players": 8, "height": (8, 9), "width": 8},
    "teams on a torus": {"players": 4, "height": 7, "width": 7, "teams": (0, 1, 0, 1), "modifiers": ("torus",)},
    "no fog, full": {"players": 3, "height": 6, "width": 6, "fog": False, "observation": "full"},
    "full in teams": {"players": 4, "height": 7, "width": 7, "teams": (0, 1, 0, 1), "observation": "full"},
}
MODES = ("SAME_STEP", "NEXT_STEP", "DISABLED")
ARMIES = (0, 1, 9)
LARGE = "A -1999 . . . .\n-140 +140 +999 +131 +1000 .\n. +128 +132 +127 . -131\n. . . +126 -500 B"


def level(army: int) -> int:
    """Return how a uint8 tensor shows an army, as the documentation says."""
    shown = min(max(army, 0), 1000)
    return shown if shown < 128 else 128 + (shown - 124) // 8


def rounded(planes: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return float32 observations (..., C, H, W) as another dtype shows them, one value at a time."""
    if dtype != np.uint8:
        return planes.astype(dtype)
    shown = np.zeros(planes.shape, np.uint8)
    for place in zip(*np.nonzero(planes), strict=True):
        value, channel = float(planes[place]), place[-3]
        shown[place] = (
            level(round(value * 1000))
            if channel in ARMIES
            else value
            if channel < 14
            else int(np.float32(255) * planes[place] + np.float32(0.5))
        )
    return shown


def stepped(venv: Any, policies: list[str]) -> tuple[Any, ...]:
    """Play a turn; begin ended games anew where the environment does not."""
    result = venv.step(venv.act(policies))
    over = ~venv.going
    if over.any() and venv.autoreset_mode.name == "DISABLED":
        venv.reset(options={"reset_mask": over})
        return (venv.observe(), *result[1:])
    return result


@pytest.mark.parametrize("share", [True, False], ids=["copies", "views"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype_shows_float32_rounded(kind: str, share: bool) -> None:
    for dtype in DTYPES[1:]:
        for mode in MODES:
            options: Options = {"max_turns": 40, "autoreset_mode": mode, "copy": share, **KINDS[kind]}
            plain, venv = generals_env.make_vec(2, **options), generals_env.make_vec(2, dtype=dtype, **options)
            policies = ["expander"] * plain.config.players
            assert venv.observation_space["observation"].dtype == dtype
            expected, got = plain.reset(seed=4), venv.reset(seed=4)
            for turn in range(60):
                if turn:
                    expected, got = stepped(plain, policies), stepped(venv, policies)
                assert same(got[0]["observation"], rounded(expected[0]["observation"], dtype))
                assert same(got[0]["action_mask"], expected[0]["action_mask"])
                assert venv.observation_space.contains(got[0])
                for final, last in zip(got[-1].get("final_obs", ()), expected[-1].get("final_obs", ()), strict=True):
                    assert final is last or same(final["observation"], rounded(last["observation"], dtype))
                if turn:
                    assert same(got[1:4], expected[1:4])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_armies_are_those_of_the_naive_game(dtype: np.dtype[Any]) -> None:
    venv = generals_env.make_vec(1, map=LARGE, fog=False, dtype=dtype)
    observations, _ = venv.reset(seed=1)
    armies = set()
    for _ in range(30):
        observations = venv.step(venv.act(["expander", "expander"]))[0]
        game = naive.Game.from_boards(venv.boards(), 0)
        for player in range(2):
            tensor = observations["observation"][0, player].reshape(9, -1)
            for channel, plane in enumerate(game.tensor(player)):
                for tile, value in enumerate(plane):
                    shown: Any = value
                    if channel in (0, 1) and value:
                        armies.add(game.army[tile])
                        short = np.float32(min(game.army[tile], 1000)) / np.float32(1000)
                        shown = level(game.army[tile]) if dtype == np.uint8 else short
                    assert tensor[channel, tile] == np.array(shown).astype(dtype)
    assert max(armies) > 1000
    assert len([army for army in armies if 128 <= army < 1000]) > 1


def test_float32_of_every_dtype_is_near_and_exact_where_documented() -> None:
    options: Options = {"map": LARGE, "fog": False, "observation": "full"}
    plain, _ = generals_env.make_vec(1, **options).reset(seed=1)
    planes = plain["observation"]
    assert planes.max() == 1
    for dtype in DTYPES:
        seen, _ = generals_env.make_vec(1, dtype=dtype, **options).reset(seed=1)
        back = to_float32(seen["observation"])
        assert back.dtype == np.float32
        away = np.abs(back - planes)
        flags = [channel for channel in range(14) if channel not in ARMIES]
        assert not away[:, :, flags].any()
        assert away.max() <= {"float32": 0, "float16": 2**-11, "uint8": 0.0041}[str(dtype)]
        small = planes[:, :, ARMIES] <= np.float32(127) / np.float32(1000)
        if dtype == np.uint8:
            assert not away[:, :, ARMIES][small].any()
            assert away[:, :, 14:].max() <= 1 / 510 + 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_packed_boards_expand_to_observations_of_float32(kind: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from generals_env.engine.packed.torch_boards import expand

    for mode in MODES:
        options: Options = {"max_turns": 100, "autoreset_mode": mode, **KINDS[kind]}
        venv = generals_env.make_vec(3, **options)
        venv.reset(seed=8)
        blank = 0
        for turn in range(90):
            expected = stepped(venv, ["expander"] * venv.config.players)[0]
            packed = venv.packed()
            assert len(packed) == 3
            assert same(packed.expanded(), {name: np.ascontiguousarray(array) for name, array in expected.items()})
            blank += int((~packed.shown).sum())
            rows = packed[np.array([2, 0])]
            if turn % 9 == 0:
                assert same(rows.to_torch()["observation"].numpy(), np.ascontiguousarray(expected["observation"][[2, 0]]))
                full = options.get("observation") == "full"
                flat = [array.ravel() for array in (rows.board, rows.player, rows.shown)]
                tensors, masks = expand(rows.boards, *flat, rows.shape, full, "cpu")  # as on a GPU
                assert torch.equal(tensors, rows.to_torch()["observation"].flatten(0, 1))
                assert torch.equal(masks, rows.to_torch()["action_mask"].flatten(0, 1))
        if venv.config.players == 8:
            assert blank > 0


def test_packed_boards_of_a_learner_stay_as_they_were() -> None:
    games = GeneralsSingleVector(3, player=1, players=3, height=7, width=7)
    observations, _ = games.reset(seed=2)
    packed = games.packed()
    games.step(np.full(3, games.config.actions - 1))
    assert same(packed.expanded(), {name: np.ascontiguousarray(array) for name, array in observations.items()})
    assert same(packed[1].expanded()["action_mask"], observations["action_mask"][1:2])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("share", [True, False], ids=["copies", "views"])
def test_torch_tensors_share_memory_and_follow_the_games(dtype: np.dtype[Any], share: bool) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    venv = generals_env.make_vec(4, height=6, width=7, observation="full", dtype=dtype, copy=share)
    venv.reset(seed=1)
    tensors = venv.to_torch()
    flat = tensors["observation"].flatten(0, 1)
    assert flat.is_contiguous(memory_format=torch.channels_last)
    assert flat.data_ptr() == venv.batch.views.observations.ctypes.data
    assert str(flat.dtype) == f"torch.{dtype}"
    before = flat.clone()
    for _ in range(30):
        observations = venv.step(venv.act(["expander", "random"]))[0]
    assert not torch.equal(flat, before)
    assert same(tensors["observation"].numpy(), observations["observation"])
    assert same(tensors["action_mask"].numpy(), observations["action_mask"])
    assert torch.equal(to_float32(flat), torch.from_numpy(to_float32(observations["observation"])).flatten(0, 1))
    twin = copy.deepcopy(venv).to_torch()["observation"]
    assert twin.data_ptr() != flat.data_ptr()
    assert torch.equal(twin.flatten(0, 1), flat)


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
@pytest.mark.filterwarnings("ignore:.*Box.*:UserWarning")
def test_dtype_is_kept_by_specs_copies_and_pickles(dtype: str) -> None:
    for given in (dtype, np.dtype(dtype), np.dtype(dtype).type):
        venv = gymnasium.make_vec(ENV_ID, num_envs=2, height=6, width=6, dtype=given)
        assert venv.spec is not None
        text = venv.spec.to_json()
        assert json.loads(text)["kwargs"]["dtype"] == dtype
        again = gymnasium.make_vec(EnvSpec.from_json(text), num_envs=2)
        assert again.single_observation_space == venv.single_observation_space
        first = venv.reset(seed=1)
        assert same(again.reset(seed=1), first)
        assert first[0]["observation"].dtype == dtype
    passes = np.full(2, 288)
    twins = copy.deepcopy(venv), pickle.loads(pickle.dumps(venv))
    for _ in range(5):
        expected = venv.step(passes)
        for twin in twins:
            assert same(twin.step(passes), expected)
    one = GeneralsSingle(height=6, width=6, dtype=dtype)
    check_env(gymnasium.make(ENV_ID, height=6, width=6, dtype=dtype).unwrapped, skip_render_check=True)
    observation, _ = one.reset(seed=1)
    assert same(observation["observation"], np.ascontiguousarray(first[0]["observation"][0]))
    assert one.observation_space.contains(observation)


def test_opponents_and_wrappers_with_other_dtypes() -> None:
    one, other = GeneralsSingle(height=6, width=6, dtype="uint8"), GeneralsSingle(height=6, width=6)
    seen, _ = one.reset(seed=3)
    expected, _ = other.reset(seed=3)
    assert Opponent("expander", 1)(seen) == Opponent("expander", 1)(expected)
    shaped = PotentialShaping(generals_env.make_vec(2, height=6, width=6, dtype="uint8"))
    assert shaped.reset(seed=1)[0]["observation"].dtype == np.uint8
    for wrapper in (FogMemory, FrameStack, RandomSymmetry):
        with pytest.raises(
            ConfigError, match=rf"dtype: expected float32 below {wrapper.__name__}, got uint8: leave the option"
        ):
            wrapper(generals_env.make_vec(2, height=6, width=6, dtype="uint8"))


def test_errors_name_expectation() -> None:
    for wrong in ("float64", None, "no", 3, "int8", np.uint16):
        with pytest.raises(ConfigError, match="dtype: expected one of float32, float16, uint8, got"):
            generals_env.make_vec(2, dtype=wrong)
    venv = generals_env.make_vec(2, height=6, width=6)
    for method in (venv.packed, venv.to_torch):
        with pytest.raises(StateError, match=rf"{method.__name__}: expected a call of reset\(\) before"):
            method()
    for array in (np.zeros((9, 4, 4), np.int32), np.zeros((8, 4, 4), np.uint8), np.zeros(9, np.uint8)):
        with pytest.raises(
            ConfigError, match=r"observation: expected \(\.\.\., C, H, W\) of float32, float16, uint8 with 9 or 21"
        ):
            to_float32(array)
