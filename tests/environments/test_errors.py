"""Tests that bad input raises one exception of the package that names the argument, the expectation and the value."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pettingzoo import ParallelEnv
from support.helpers import DUEL, MARCH, RAID, TO_THE_LAST, any_legal, idle, passing, play, same
from support.refusals import refused

import generals_env
from generals_env import (
    ActionError,
    ConfigError,
    GameConfig,
    GeneralsError,
    MapError,
    ReplayError,
    RewardConfig,
    StateError,
    StorageError,
    generals_v0,
    replay,
)
from generals_env.opponents import POLICY_NAMES
from generals_env.recorders import ExperienceRecorder, open_dataset, record_replays
from generals_env.recorders.formats.npz import decode
from generals_env.wrappers import Opponent

nan, inf = float("nan"), float("inf")


def test_error_classes_derive_from_builtin_exceptions() -> None:
    bases = {ConfigError: ValueError, ActionError: ValueError, MapError: ValueError, ReplayError: ValueError}
    for kind, base in {**bases, StateError: RuntimeError, StorageError: OSError}.items():
        assert issubclass(kind, base)
        assert issubclass(kind, GeneralsError)


SIZE = "expected an integer from 4 to 64, got "
TURNS = "max_turns: expected an integer from 1 to 2147483647, got "
MOUNTAINS = "mountain_density: expected a share from 0 to 0.3, got "
OPTIONS: list[tuple[dict[str, Any], str]] = [
    *(({"players": bad}, f"players: expected an integer from 2 to 16, got {bad!r}") for bad in (1, 17, True, 2.0, "2", None)),
    *(({"height": bad}, f"height: {SIZE}{bad!r}") for bad in (3, 65, 20.0, "20", None, True)),
    *(({"width": bad}, f"width: {SIZE}{bad!r}") for bad in (3, 65, -4, nan)),
    ({"height": (3, 9)}, f"height: {SIZE}3"),
    ({"width": [9, 65]}, f"width: {SIZE}65"),
    ({"width": (9, 8)}, "width: expected (minimum, maximum), got (9, 8)"),
    ({"height": (8,)}, "height: expected an integer or a pair (minimum, maximum), got (8,)"),
    *(({"max_turns": bad}, f"{TURNS}{bad!r}") for bad in (0, -1, 2**31, 1.5, None)),
    *(
        ({"rules": bad}, f"rules: expected 'live', 'competition' or 'v3' to 'v18', got {bad!r}")
        for bad in ("v2", "v19", "Live", "v5 ", 5, None)
    ),
    *(({"fog": bad}, f"fog: expected True or False, got {bad!r}") for bad in (1, "yes", None)),
    ({"teams": (0, 0)}, "teams: expected at least two teams, got (0, 0)"),
    ({"teams": [0, 1, 2]}, "teams: expected one team number for each of 2 players, got (0, 1, 2)"),
    ({"teams": 1}, "teams: expected one team number for each of 2 players, got 1"),
    *(({"teams": (0, bad)}, f"teams: expected an integer from 0 to 127, got {bad!r}") for bad in (128, -1, "a", 1.0)),
    ({"modifiers": ("torsu",)}, "modifiers: expected names among leapfrog, defenseless, torus, slippery, got ('torsu',)"),
    ({"modifiers": "torus"}, "modifiers: expected names among leapfrog, defenseless, torus, slippery, got 'torus'"),
    ({"modifiers": (["torus"],)}, "modifiers: expected names among leapfrog, defenseless, torus, slippery, got (['torus'],)"),
    *(({"mountain_density": bad}, f"{MOUNTAINS}{bad!r}") for bad in (0.31, -0.1, nan, "0.2", None, True, (0.1, 0.4))),
    ({"mountain_density": (0.2, 0.1)}, "mountain_density: expected (minimum, maximum), got (0.2, 0.1)"),
    ({"mountain_density": (0.2,)}, "mountain_density: expected a share or a pair (minimum, maximum), got (0.2,)"),
    *(
        ({"city_density": bad}, f"city_density: expected a share from 0 to 0.2, got {bad!r}")
        for bad in (0.21, -1, inf, "", (0, 0.1))
    ),
    ({"reward": 5}, "reward: expected RewardConfig or a mapping of its fields, got 5"),
    ({"observation": "all"}, "observation: expected one of standard, full, got 'all'"),
    ({"render_mode": "pygame"}, "render_mode: expected None or one of human, ansi, rgb_array, got 'pygame'"),
    *(({"render_player": bad}, f"render_player: expected an integer from 0 to 1, got {bad!r}") for bad in (2, -1, "0")),
    (
        {"players": 3, "height": (4, 9), "width": 5},
        "players: expected at most one for every 8 tiles, got 3 on a board of 4x5",
    ),
    ({"map": DUEL, "players": 3}, "players: expected 2 as on the map, got 3: leave it out"),
    ({"map": DUEL, "width": 6}, "width: expected 5 as on the map, got 6: leave it out"),
    ({"max_cycles": 0}, f"{TURNS}0"),
]


@pytest.mark.parametrize(("options", "start"), OPTIONS, ids=[str(options) for options, _ in OPTIONS])
def test_options_are_checked(options: dict[str, Any], start: str) -> None:
    for make in (generals_v0.env, generals_v0.parallel_env):
        with refused(ConfigError, start):
            make(**options)
    if "max_cycles" not in options:
        with refused(ConfigError, start):
            GameConfig.from_options(**options)


@pytest.mark.parametrize("bad", [nan, inf, -inf, "1", None, True, 10**400], ids=lambda bad: repr(bad)[:9])
def test_reward_weights_are_checked(bad: Any) -> None:
    for name in ("win_game", "army_advantage"):
        with refused(ConfigError, f"reward {name}: expected a finite number, got {bad!r:.80}"):
            RewardConfig(**{name: bad})


def test_configuration_made_by_hand_is_checked_against_its_map() -> None:
    with refused(ConfigError, "height: expected 4 as on the map, got 20: leave it out"):
        GameConfig(map=DUEL)


@pytest.mark.parametrize("bad", [-1, 1.5, "1", True, np.float64(3), [1]])
def test_invalid_seeds_are_refused_and_change_nothing(bad: Any) -> None:
    start = f"seed: expected a non-negative integer or None, got {bad!r}"
    with refused(ConfigError, start):
        Opponent("random", bad)
    for make in (generals_env.make, generals_env.parallel_env):
        env = make(height=6, width=6)
        env.reset(seed=np.int64(3))
        before = pickle.dumps(env)
        with refused(ConfigError, start):
            env.reset(seed=bad)
        assert pickle.dumps(env) == before


REST = "\n....\n....\n...B"
SYMBOL = "map: expected one of . # A-P 0-9 x s d l o $ARMY +ARMY -ARMY (armies up to 1000000) in row 0, column 1, got "
MAPS: list[tuple[Any, str]] = [
    (5, "map: expected a text, got int"),
    (DUEL.encode(), "map: expected a text, got bytes"),
    ("", "map: expected 4 to 64 rows of 4 to 64 tiles, got 0 rows of 0"),
    ("A..B\n....\n....", "map: expected 4 to 64 rows of 4 to 64 tiles, got 3 rows of 4"),
    ("A.B\n...\n...\n...", "map: expected 4 to 64 rows of 4 to 64 tiles, got 4 rows of 3"),
    ("A..B\n" + "....\n" * 64, "map: expected 4 to 64 rows of 4 to 64 tiles, got 65 rows of 4"),
    ("A" + "." * 64 + REST, "map: expected 4 to 64 rows of 4 to 64 tiles, got 4 rows of 65"),
    ("A...\n...\n....\n...B", "map: expected 4 tiles in row 1, got 3"),
    ("A...\n\n....\n...B", "map: expected 4 tiles in row 1, got 0"),
    ("A..." + REST.replace("B", "A"), "map: expected general A once, got it again in row 3, column 3"),
    ("A..." + REST.replace("B", "C"), "map: expected generals A, B and so on, at least two, got AC"),
    ("A..." + REST.replace("B", "."), "map: expected generals A, B and so on, at least two, got A"),
    ("...." + REST.replace("B", "."), "map: expected generals A, B and so on, at least two, got none"),
    *(
        (f"A {bad} . .{REST}", f"{SYMBOL}{bad!r}")
        for bad in ("Q", "a", "$", "$x", "+", "-1.5", "$1000001", "10", "..", "$-4", "BC")
    ),
    (f"AB . . .{REST}", SYMBOL.replace("column 1", "column 0") + "'AB'"),
]


@pytest.mark.parametrize(("text", "start"), MAPS)
def test_maps_are_checked(text: Any, start: str) -> None:
    for make in (generals_env.make, generals_env.parallel_env):
        with refused(MapError, start):
            make(map=text)


NO_INTEGERS = (None, 1.0, "1", np.float32(1), [1], np.array([1, 2]), {}, object)
OUT_OF_RANGE = (-1, 161, np.int64(2**62), 10**30, 10**5000)
BAD = [
    *((bad, f"n integer, got {bad!r}") for bad in NO_INTEGERS),
    *((bad, "n integer from 0 to 160, got ") for bad in OUT_OF_RANGE),
]


@pytest.mark.parametrize(("bad", "text"), BAD, ids=[type(bad).__name__ for bad, _ in BAD])
@pytest.mark.parametrize("make", [generals_env.make, generals_env.parallel_env], ids=["aec", "parallel"])
def test_invalid_action_leaves_state_unchanged(make: Callable[..., Any], bad: Any, text: str) -> None:
    env = make(map=DUEL)
    env.reset(seed=1)
    play(env, "A00r - A00r")
    if make is generals_env.make:
        env.step(1)  # half of a turn
    before, control = pickle.dumps(env), env.clone()
    with refused(ActionError, f"action: expected a{text}"):
        env.step(bad if make is generals_env.make else {"player_0": 7, "player_1": bad})
    assert pickle.dumps(env) == before
    if make is generals_env.make:
        for each in (env, control):
            each.step(passing(env))
    assert same(play(env, "A00d"), play(control, "A00d"))
    assert same(env.board(), control.board())


@pytest.mark.parametrize(
    "actions",
    [{}, {"player_0": 1}, {"player_0": 1, "player_1": 1, "player_2": 1}, {"player_0": 1, 5: 1}, [1, 1], None, 5],
    ids=repr,
)
def test_parallel_actions_must_name_the_live_agents(actions: Any) -> None:
    env = generals_env.parallel_env(map=DUEL)
    env.reset()
    before = pickle.dumps(env)
    with refused(ActionError, "actions: expected one for each of ['player_0', 'player_1'], got "):
        env.step(actions)
    assert pickle.dumps(env) == before


def test_eliminated_players_cannot_act() -> None:
    env = generals_env.make(map=RAID)
    env.reset()
    play(env, f"{MARCH} A01r")
    with refused(ActionError, "action: expected None for player_1, whose game has ended, got 3"):
        env.step(3)
    env.step(None)
    with refused(ActionError, "action: expected an integer, got None"):
        env.step(None)
    both = generals_env.parallel_env(map=RAID)
    both.reset()
    play(both, f"{MARCH} A01r")
    with refused(ActionError, "actions: expected one for each of ['player_0', 'player_2'], got ['player_0', 'player_1', "):
        both.step(dict.fromkeys(both.possible_agents, 0))


@pytest.mark.parametrize("make", [generals_env.make, generals_env.parallel_env], ids=["aec", "parallel"])
def test_calls_before_reset_are_refused(make: Callable[..., Any]) -> None:
    env = make(map=DUEL, render_mode="ansi")
    calls: dict[str, Callable[[], Any]] = {name: getattr(env, name) for name in ("state", "board", "render", "clone")}
    calls["step"] = lambda: env.step(0 if make is generals_env.make else {"player_0": 0, "player_1": 0})
    if make is generals_env.make:
        calls["observe"] = lambda: env.observe("player_0")
    for name, call in calls.items():
        with refused(StateError, f"{name}: expected a call of reset() before, got none"):
            call()
    with refused(StateError, "surrender: expected one of [], got 'player_0'"):
        env.surrender("player_0")
    assert not env.is_game_over()
    assert env.get_winner() == -1
    started = make(map=DUEL, render_mode="ansi")
    started.reset()
    with refused(StateError, "restore: expected a game after reset(), got one before: call its reset() first"):
        started.restore(env)


def test_calls_after_end_are_refused() -> None:
    one, both = generals_env.make(map=RAID), generals_env.parallel_env(map=RAID)
    for env in (one, both):
        env.reset()
        play(env, f"{MARCH} A01r {TO_THE_LAST}")
    with refused(StateError, "surrender: expected a living player of a running game, got player 0"):
        one.surrender("player_0")
    while one.agents:
        one.step(None)
    for env in (one, both):
        for action in (0, None, {}):
            with refused(StateError, "step: expected a running game, got "):
                env.step(action)
        with refused(StateError, "surrender: expected one of [], got 'player_0'"):
            env.surrender("player_0")
        env.reset()
        idle(env, 1)


def test_surrender_of_eliminated_or_unknown_player_is_refused() -> None:
    env = generals_env.parallel_env(map="A..B\n....\n....\nC..D", teams=(0, 0, 1, 1), render_mode=None)
    env.reset()
    with refused(StateError, "surrender: expected one of ['player_0', 'player_1', 'player_2', 'player_3'], got 'player_4'"):
        env.surrender("player_4")
    env.surrender("player_0")
    with refused(StateError, "surrender: expected a living player of a running game, got player 0"):
        env.surrender("player_0")
    idle(env, 1)
    with refused(StateError, "surrender: expected a living player of a running game, got player 0"):
        env.surrender("player_0")
    with refused(StateError, "render: expected a render_mode, got None: make the environment with one of "):
        env.render()


OTHERS: dict[str, Callable[[], Any]] = {
    "another map": lambda: generals_env.make(map=RAID),
    "other turns": lambda: generals_env.make(map=DUEL, max_turns=5),
    "another kind": lambda: generals_env.parallel_env(map=DUEL),
    "a number": lambda: 5,
    "nothing": lambda: None,
}


@pytest.mark.parametrize("what", OTHERS)
def test_restore_of_another_kind_of_game_is_refused_and_changes_nothing(what: str) -> None:
    env, other = generals_env.make(map=DUEL), OTHERS[what]()
    env.reset()
    if hasattr(other, "reset"):
        other.reset()
        idle(other, 1)
    before = pickle.dumps(env)
    with refused(StateError, "restore: expected "):
        env.restore(other)
    assert pickle.dumps(env) == before


@pytest.mark.parametrize("bad", ["greedy", "", None, 5, ["random"]])
def test_opponent_names_are_checked(bad: Any) -> None:
    with refused(ConfigError, f"opponent: expected one of {POLICY_NAMES}, got {bad!r}"):
        Opponent(bad)


@pytest.mark.parametrize("name", ["random", "expander"])
@pytest.mark.parametrize(
    "bad", [{}, None, {"observation": np.zeros((9, 4, 5), np.float32)}, 5], ids=["empty", "None", "no mask", "5"]
)
def test_opponents_need_an_observation(name: str, bad: Any) -> None:
    with refused(ConfigError, "observation: expected "):
        Opponent(name, 1)(bad)


class Foreign(ParallelEnv):
    """An environment of another package."""

    possible_agents = agents = ["a"]  # noqa: RUF012 - as PettingZoo declares it


def duel() -> Any:
    env = generals_env.parallel_env(map=DUEL)
    env.reset()
    return env


def test_recorder_accepts_only_our_environments_and_sinks(tmp_path: Path) -> None:
    with refused(ConfigError, "env: expected an AEC, parallel, vector or single-agent environment, or a VecEnv, got str"):
        ExperienceRecorder("env", tmp_path)
    with refused(ConfigError, "env: expected an environment of generals_env, got Foreign"):
        ExperienceRecorder(Foreign(), tmp_path)
    for bad in (None, 5, b"folder", []):
        text = f"sink: expected a path, an object with write, flush and close, or several of these, got {bad!r}"
        with refused(ConfigError, text):
            ExperienceRecorder(duel(), bad)
    with refused(ConfigError, "on_error: expected 'raise' or 'skip', got 'ignore'"):
        record_replays([], tmp_path, on_error="ignore")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_places_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("here")
    for place in (file, file / "below", str(file / "far" / "below"), Path("/proc/nowhere"), "null\0byte"):
        with refused(StorageError, f"sink: expected a folder that can be written, got {str(place)!r}"):
            ExperienceRecorder(duel(), place)
        with refused(StorageError, "sink: expected a folder that can be written"):
            record_replays([], place)
    assert file.read_text() == "here"


def test_vanished_folder_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    env = ExperienceRecorder(duel(), folder)
    idle(env, 2)
    shutil.rmtree(folder)
    with refused(StorageError, f"path: expected an existing folder or file, got '{folder}'"):
        env.flush()
    folder.mkdir()
    idle(env, 1)
    env.close()
    assert [batch.turn.tolist() for batch in open_dataset(folder)] == [[0, 0, 1, 1, 2, 2]]  # unwritten batches were kept


def test_invalid_dataset_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "not there", "null\0byte"):
        with refused(StorageError, "path: expected a folder with files of experience (.npz, .parquet, .tfrecord"):
            open_dataset(place)
    with refused(StorageError, "data: expected a file of experiences (schema 2), got "):
        decode(b"nothing")
    for place in (tmp_path, tmp_path / "not there"):
        with refused(ReplayError, f"path: expected a readable file, got {str(place)!r}"):
            replay.read(place)
    with refused(ReplayError, "path: expected a readable file, got "):
        replay.read("null\0byte")


def test_output_arrays_must_fit(tmp_path: Path) -> None:
    with ExperienceRecorder(duel(), tmp_path) as env:
        idle(env, 3)
    (batch,) = open_dataset(tmp_path)
    right = batch.states()
    fixed = right.copy()
    fixed.flags.writeable = False
    for bad in (right[1:], right.astype(np.float64), right[:, ::-1], np.asfortranarray(right), fixed):
        with refused(ConfigError, "out: expected a writeable contiguous float32 or float16 array of shape (6, 9, 4, 5), got "):
            batch.next_states(out=bad)
        with refused(ConfigError, "out: expected a writeable contiguous int8 array of shape (6, 161), got "):
            batch.action_masks(out=bad)


def test_rollouts_raise_no_errors() -> None:
    env = generals_env.parallel_env(height=6, width=6, max_turns=100)
    rng = np.random.default_rng(0)
    seen, _ = env.reset(seed=0)
    while env.agents:
        wild = {agent: any_legal(seen[agent]["action_mask"], rng) for agent in env.agents}
        wild["player_1"] = rng.integers(env.action_space("player_1").n)  # mostly illegal
        seen, _, _, _, infos = env.step(wild)
    assert infos["player_1"]["illegal_actions"] > 50
    assert re.fullmatch(r"\d+", str(infos["player_0"]["illegal_actions"]))
