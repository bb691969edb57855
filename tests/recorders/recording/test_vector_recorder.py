"""Tests ExperienceRecorder on vector, single-player and SB3 environments, with any wrappers in between."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.wrappers import FlattenObservation, RecordEpisodeStatistics, TransformObservation
from gymnasium.wrappers.vector import TransformObservation as TransformObservations
from stable_baselines3.common import env_checker
from stable_baselines3.common.vec_env import VecEnvWrapper, VecMonitor, VecNormalize
from support.helpers import DUEL, RAID, Memory, Options, any_legal, check_batches, same
from support.paths import TESTS
from support.recorded import CASTLES
from support.refusals import refused

import generals_env
from generals_env import ConfigError, RewardConfig
from generals_env.engine.packed.packing import unpack
from generals_env.recorders import ExperienceRecorder, open_dataset
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe, Shaping
from generals_env.recorders.recording import kernel_player, turn_batcher
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers import FogMemory, FrameStack, PotentialShaping, RandomSymmetry, SB3VecEnv

SAME_STEP, NEXT_STEP, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED

SMALL: Options = {"height": 5, "width": 6, "max_turns": 25}
KINDS: dict[str, Options] = {
    "2 players": SMALL,
    "3 players on drawn sizes": {**SMALL, "players": 3, "height": (5, 6), "max_turns": 60},
    "4 players in teams": {**SMALL, "players": 4, "width": 7, "teams": (0, 1, 0, 1)},
    "full layout": {**SMALL, "observation": "full"},
    "builds": {"rules": "competition", "map": CASTLES, "touch_turn": 14, "max_turns": 25},
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_batcher, "CHUNK_BOARDS", 13)
    monkeypatch.setattr(turn_batcher, "CHUNK_TURNS", 5)
    monkeypatch.setattr(kernel_player, "PLAY_TURNS", 16)
    monkeypatch.setattr(kernel_player, "PLAY_GAME_TURNS", 64)


# --- Experiences from results of an environment ------------------------------------------------------------------------


class Log:
    """Steps an environment and keeps one experience per row from its results; arrays have leading axes of games and players."""

    def __init__(self, env: Any, players: int, seat: int, mode: AutoresetMode = SAME_STEP) -> None:
        self.env = env
        self.shared = seat < 0  # whether all players are shown
        self.players = [*range(players)] if seat < 0 else [seat]
        self.mode = mode
        self.rows: list[tuple[Any, ...]] = []

    def begin(self, views: Any, which: np.ndarray | None = None) -> None:
        self.seen = self.split(views)
        count = len(next(iter(self.seen.values())))
        if which is None:
            self.going = np.ones((count, len(self.players)), np.bool_)
        else:
            self.going[which] = True

    def split(self, views: Any) -> dict[str, np.ndarray]:
        """Return observations with an axis of players."""
        views = views if isinstance(views, dict) else {"observation": views}
        return {name: (array if self.shared else array[:, None]).copy() for name, array in views.items()}

    def take(self, actions: np.ndarray, result: tuple[Any, ...]) -> None:
        """Take the result of a step of a vector environment; ``actions`` (B, players shown)."""
        views, rewards, terminated, truncated, infos = result
        now = self.split(views)
        after = {name: array.copy() for name, array in now.items()}
        for b in np.flatnonzero(infos.get("_final_obs", [])):
            last = self.split({name: array[None] for name, array in infos["final_obs"][b].items()})
            for name, array in after.items():
                array[b] = last[name][0]
        shape = self.going.shape
        rewards, terminated, truncated = (np.reshape(part, shape) for part in (rewards, terminated, truncated))
        illegal = infos["illegal_action"]
        if "_final_info" in infos:
            illegal = np.where(
                infos["_final_info"].reshape(-1, *[1] * (illegal.ndim - 1)), infos["final_info"]["illegal_action"], illegal
            )
        illegal = illegal.reshape(shape)
        pending = ~self.going.any(axis=1)
        for b, k in zip(*np.nonzero(self.going), strict=True):
            before = {name: array[b, k] for name, array in self.seen.items()}
            following = {name: array[b, k] for name, array in after.items()}
            columns = (actions[b, k], illegal[b, k], rewards[b, k], terminated[b, k], truncated[b, k])
            self.rows.append((b, self.players[k], *columns, before, following))
        self.going &= ~(terminated | truncated)
        if self.mode is SAME_STEP:
            self.going[~self.going.any(axis=1)] = True
        elif self.mode is NEXT_STEP:
            self.going[pending] = True
        self.seen = now

    def check(self, batches: Memory, masks: bool = True) -> None:
        """Check that the batches hold these experiences, bit for bit."""
        columns = list(zip(*self.rows, strict=True))
        assert len(self.rows) == sum(map(len, batches))
        assert batches.column("player_id").tolist() == list(columns[1])
        illegal = batches.column("illegal")
        assert illegal.tolist() == list(columns[3])
        assert batches.column("action")[~illegal].tolist() == np.array(columns[2])[~illegal].tolist()
        assert same(batches.column("rewards"), np.array(columns[4], np.float32))
        assert batches.column("terminated").tolist() == list(columns[5])
        assert batches.column("truncated").tolist() == list(columns[6])
        assert same(batches.column("states"), np.stack([view["observation"] for view in columns[7]]))
        # Observations of eliminated players in running games are zero.
        out = np.array([not view["observation"].any() for view in columns[8]])
        following = np.stack([view["observation"] for view in columns[8]])
        assert same(batches.column("next_states")[~out], following[~out])
        if masks:
            assert same(batches.column("action_masks"), np.stack([view["action_mask"] for view in columns[7]]))
            told = np.stack([view["action_mask"] for view in columns[8]])
            assert same(batches.column("next_action_masks")[~out], told[~out])


def chosen(masks: np.ndarray, rng: np.random.Generator, illegal: float = 0.1) -> np.ndarray:
    """Return legal actions, some of any kind, and some passes; ``masks`` (..., A)."""
    flat = masks.reshape(-1, masks.shape[-1])
    actions = np.array([any_legal(mask, rng) for mask in flat])
    actions = np.where(rng.random(len(flat)) < illegal, rng.integers(masks.shape[-1], size=len(flat)), actions)
    return actions.reshape(masks.shape[:-1])


def walk(env: Any, log: Log, turns: int, rng: np.random.Generator) -> None:
    """Play turns, with the masks of the games at the bottom: wrappers may show none."""
    games = env.unwrapped
    for _ in range(turns):
        if log.mode is DISABLED and not games.going.all():
            which = ~games.going
            log.begin(env.reset(options={"reset_mask": which})[0], which)
        masks = games.batch.views.masks if log.shared else games.batch.views.masks[:, log.players]
        actions = chosen(masks, rng)
        result = env.step(actions if log.shared else actions[:, 0])
        log.take(actions, result)


def vector(kind: str, face: str, **options: Any) -> Any:
    if face == "all":
        return generals_env.make_vec(3, **KINDS[kind], **options)
    return GeneralsSingleVector(3, "expander", player=1, **KINDS[kind], **options)


def log_of(env: Any, face: str, mode: AutoresetMode = SAME_STEP) -> Log:
    return Log(env, env.unwrapped.config.players, -1 if face == "all" else 1, mode)


def games_of(batches: Memory) -> dict[str, ExperienceBatch]:
    """Return a batch a game."""
    whole = ExperienceBatch.concat(batches)
    return {name: whole.select(np.flatnonzero(whole.game_id == name)) for name in dict.fromkeys(whole.game_id.tolist())}


# --- Records ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP, DISABLED], ids=lambda mode: mode.name)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("face", ["all", "one"])
def test_records_equal_results_of_steps(kind: str, face: str, mode: AutoresetMode) -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(vector(kind, face, autoreset_mode=mode), batches, run_id="run")
    assert {ExperienceRecorder, VectorWrapper} <= set(type(env).__mro__)
    log = log_of(env, face, mode)
    rng = np.random.default_rng(5)
    log.begin(env.reset(seed=3)[0])
    walk(env, log, 80, rng)
    which = np.array([False, True, False])
    log.begin(env.reset(options={"reset_mask": which})[0], which)
    walk(env, log, 40, rng)
    assert env.games > 6
    env.close()
    log.check(batches)
    assert len(batches) > 5
    if face == "all":
        assert check_batches(batches) == env.experiences
    else:
        assert np.array_equal(batches.column("sequence"), np.arange(env.experiences))
    check_ends(batches, left=4, learners=env.unwrapped.config.players if face == "all" else 1)


def check_ends(batches: Memory, left: int, learners: int) -> None:
    """Check that each player has one last experience in each game, except in at most ``left`` abandoned games."""
    unfinished = 0
    for game in games_of(batches).values():
        ends = np.flatnonzero(game.terminated | game.truncated)
        assert len(set(game.player_id[ends])) == len(ends)
        unfinished += len(ends) < learners
        assert np.array_equal(np.unique(game.turn), np.arange(game.turn.max() + 1))
    assert unfinished <= left


@pytest.mark.checklist("P3")
def test_recorded_games_equal_parallel_environments() -> None:
    options = {**KINDS["3 players on drawn sizes"], "reward": RewardConfig.original()}
    batches = Memory()
    env: Any = ExperienceRecorder(generals_env.make_vec(3, **options), batches)
    env.reset(seed=40)
    rng = np.random.default_rng(0)
    given = [chosen(env.unwrapped.batch.views.masks, rng) for _ in range(1)]
    for _ in range(45):
        env.step(given[-1])
        given.append(chosen(env.unwrapped.batch.views.masks, rng))
    env.close()
    recorded = list(games_of(batches).values())
    for i in range(3):
        alone = Memory()
        one: Any = ExperienceRecorder(generals_env.parallel_env(**options), alone)
        one.reset(seed=40 + i)
        for actions in given[:45]:
            if one.agents:
                one.step({agent: actions[i, one.unwrapped.index[agent]] for agent in one.agents})
        one.close()
        expected, got = ExperienceBatch.concat(alone), recorded[i]
        for name in ("player_id", "turn", "action", "illegal", "reward", "terminated", "truncated"):
            assert same(getattr(got, name), getattr(expected, name)), name
        assert same(got.states(), expected.states())
        for name in ("state_index", "next_state_index"):
            ours, theirs = (unpack(batch.boards, getattr(batch, name)) for batch in (got, expected))
            assert same(ours, theirs)


@pytest.mark.parametrize("mode", [SAME_STEP, NEXT_STEP], ids=lambda mode: mode.name)
@pytest.mark.parametrize("opponents", [False, True])
def test_game_lost_by_learner_ends_there(mode: AutoresetMode, opponents: bool) -> None:
    moves = iter([128, 128, 3, 7])  # player_0 marches to the right and takes a general in turn 3

    def conquer(views: Any) -> np.ndarray:
        return np.array([next(moves, 128), 128])

    batches = Memory()
    env: Any = ExperienceRecorder(
        GeneralsSingleVector(1, conquer, player=1, map=RAID, autoreset_mode=mode), batches, opponents=opponents
    )
    env.reset()
    ends = [t for t in range(8) if env.step(np.array([128]))[2][0]]
    assert ends == [3]
    env.close()
    first, second = games_of(batches).values()
    assert set(first.player_id) == ({0, 1, 2} if opponents else {1})
    assert first.turn.max() == 3
    assert first.player_id[first.terminated].tolist() == [1]
    assert second.turn.min() == 0
    assert second.turn.max() == (3 if mode is SAME_STEP else 2)
    assert not second.terminated.any()


def test_opponents_are_recorded_on_request() -> None:
    one, everybody = Memory(), Memory()
    for batches, opponents in ((one, False), (everybody, True)):
        env: Any = ExperienceRecorder(
            GeneralsSingleVector(4, "expander", player=1, **SMALL), batches, "run", opponents=opponents
        )
        env.reset(seed=1)
        for _ in range(60):
            env.step(np.array([any_legal(mask, np.random.default_rng(0)) for mask in env.unwrapped.action_masks()]))
        env.close()
    assert check_batches(everybody) == 2 * sum(map(len, one)) == 2 * 4 * 60
    own = ExperienceBatch.concat(everybody)
    own = own.select(own.player_id == 1)
    alone = ExperienceBatch.concat(one)
    for name in ("action", "reward", "terminated", "truncated", "turn", "states", "next_states"):
        ours, theirs = getattr(own, name), getattr(alone, name)
        assert same(ours() if callable(ours) else ours, theirs() if callable(theirs) else theirs), name
    with refused(ConfigError, "opponents: expected an environment with one learning player, got one of all players"):
        ExperienceRecorder(generals_env.make_vec(2), Memory(), opponents=True)


# --- Playing ------------------------------------------------------------------------------------------------------------


CROWD = ["expander", "random", "expander", "random"]


@pytest.mark.parametrize("kind", KINDS)
def test_play_is_equal_with_and_without_recorder_on_any_number_of_threads(kind: str) -> None:
    policies = CROWD[: KINDS[kind].get("players", 2)]
    control = generals_env.make_vec(40, **KINDS[kind])
    control.reset(seed=2)
    counts = [control.play(50, policies), control.play(7, policies)]
    records = []
    for threads in (1, 2, 3):
        batches = Memory()
        env: Any = ExperienceRecorder(generals_env.make_vec(40, threads=threads, **KINDS[kind]), batches, run_id="run")
        env.reset(seed=2)
        assert [env.play(50, policies), env.play(7, policies)] == counts
        assert same(env.boards(), control.boards())
        assert same(env.unwrapped.batch.policy_rng, control.batch.policy_rng)
        env.close()
        assert check_batches(batches) == env.experiences
        assert env.games == counts[0].games + counts[1].games + 40
        records.append(batches)
        whole = ExperienceBatch.concat(batches)
        assert whole.terminated.any() or whole.truncated.any()
        for name in ("action", "game_id", "player_id", "turn", "reward", "terminated", "states", "next_states"):
            ours, first = (batch_column(one, name) for one in (batches, records[0]))
            assert same(ours, first), name
        check_ends(batches, left=40, learners=env.unwrapped.config.players)


def batch_column(batches: Memory, name: str) -> np.ndarray:
    return batches.column(name)


@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: FrameStack(FogMemory(env), 3)], ids=["bare", "remembering"])
def test_played_and_stepped_turns_make_one_record(wrap: Callable[[Any], Any]) -> None:
    batches, control = Memory(), Memory()
    env: Any = ExperienceRecorder(wrap(generals_env.make_vec(9, **SMALL)), batches, run_id="run")
    twin: Any = ExperienceRecorder(wrap(generals_env.make_vec(9, **SMALL)), control, run_id="run")
    for one in (env, twin):
        one.reset(seed=8)
    for played in (3, 40, 1):
        env.play(played, ["random", "expander"])
        for _ in range(played):
            twin.step(twin.unwrapped.act(["random", "expander"]))
        for _ in range(4):
            for one in (env, twin):
                one.step(one.unwrapped.act(["expander", "random"]))
    for one in (env, twin):
        one.flush()
        one.close()
    assert check_batches(batches) == check_batches(control) == env.experiences

    def by_game(one: Memory) -> list[Any]:
        key = np.lexsort([one.column("player_id"), one.column("turn"), number_of_game(one)])
        return [one.column(name)[key] for name in ("action", "reward", "states", "next_states", "terminated")]

    assert same(by_game(batches), by_game(control))


def number_of_game(batches: Memory) -> np.ndarray:
    """Return a number for each experience's game that does not depend on the order in which games were named."""
    whole = ExperienceBatch.concat(batches)
    boards = whole.unpacked()
    first = {}
    for i in range(len(whole)):
        first.setdefault(whole.game_id[i], boards.terrain[whole.state_index[i]].tobytes() + bytes(boards.players[0]["general"]))
    order = {key: number for number, key in enumerate(sorted(set(first.values())))}
    return np.array([order[first[name]] for name in whole.game_id])


def test_sink_that_refuses_batch_gets_it_again() -> None:
    class Full(Memory):
        room = 3

        def write(self, batch: ExperienceBatch) -> None:
            if len(self) >= self.room:
                raise OSError("full")
            super().write(batch)

    batches = Full()
    env: Any = ExperienceRecorder(generals_env.make_vec(20, threads=1, **SMALL), batches)
    control = generals_env.make_vec(20, **SMALL)
    for venv in (env, control):
        venv.reset(seed=1)
    with pytest.raises(OSError, match="full"):
        env.play(100, ["random", "random"])
    batches.room = 10**6
    env.play(5, ["random", "random"])
    played = 0
    while not same(control.boards(), env.boards()):
        control.play(1, ["random", "random"]) if played else control.play(5, ["random", "random"])
        played += 1
        assert played < 200
    env.close()
    assert check_batches(batches) == env.experiences


def test_play_bypassing_recorder_starts_new_games() -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(generals_env.make_vec(2, map=DUEL), batches)
    env.reset(seed=1)
    env.step(env.unwrapped.act(["random", "random"]))
    env.unwrapped.play(3, ["random", "random"])
    env.step(env.unwrapped.act(["random", "random"]))
    env.close()
    assert check_batches(batches) == 8
    assert len(games_of(batches)) == 4


# --- One game, SB3 --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")  # the wrapper itself is under test
def test_checkers_pass() -> None:
    def single() -> Any:
        return ExperienceRecorder(GeneralsSingle(**SMALL), batches)

    batches = Memory()
    env = single()
    assert {ExperienceRecorder, gymnasium.Wrapper} <= set(type(env).__mro__)
    check_env(env, skip_render_check=True)
    env.close()
    env_checker.check_env(single(), warn=False)
    assert sum(map(len, batches)) > 10


Wrap = Callable[[Any], Any]
OWN: dict[str, tuple[Wrap, Recipe]] = {
    "nothing": (lambda env: env, Recipe()),
    "memory": (FogMemory, Recipe(memory=True)),
    "stack": (lambda env: FrameStack(env, 3), Recipe(frames=3)),
    "stacked memory": (lambda env: FrameStack(FogMemory(env), 2), Recipe(memory=True, frames=2)),
    "shaping": (lambda env: PotentialShaping(env, 0.9, 1.0, 0.5), Recipe(shaping=(Shaping(float(np.float32(0.9)), 1.0, 0.5),))),
    "all of them": (
        lambda env: PotentialShaping(FrameStack(PotentialShaping(FogMemory(env), 1.0, cities=0.25), 4), 0.5, land=0.5),
        Recipe("standard", True, 4, (Shaping(1.0, cities=0.25), Shaping(0.5, 0.5))),
    ),
    "statistics": (
        lambda env: FrameStack(env, 1) if isinstance(env, gymnasium.vector.VectorEnv) else RecordEpisodeStatistics(env),
        Recipe(),
    ),
}


class Foreign(gymnasium.vector.VectorWrapper):
    """Changes observations; those of Gymnasium do not know ``SAME_STEP``."""

    def reset(self, **options: Any) -> Any:
        views, infos = self.env.reset(**options)
        return self.changed(views), infos

    def step(self, actions: Any) -> Any:
        views, *rest, infos = self.env.step(actions)
        if "final_obs" in infos:
            infos = {**infos, "final_obs": infos["final_obs"].copy()}
            for b in np.flatnonzero(infos["_final_obs"]):
                infos["final_obs"][b] = self.changed(infos["final_obs"][b])
        return self.changed(views), *rest, infos

    def changed(self, views: Any) -> Any:
        raise NotImplementedError


class Mirrored(Foreign):
    """A wrapper that changes observations but not the space."""

    def changed(self, views: Any) -> Any:
        return {**views, "observation": views["observation"][..., ::-1].copy()}


class Halved(Foreign):
    """Says so."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        below = env.single_observation_space
        half = gymnasium.spaces.Box(0.0, 0.5, below["observation"].shape, np.float16)
        self.single_observation_space = gymnasium.spaces.Dict({**below.spaces, "observation": half})

    def changed(self, views: Any) -> Any:
        return half(views)


def half(views: Any) -> Any:
    return {**views, "observation": (views["observation"] / 2).astype(np.float16)}


def halved(env: Any) -> Any:
    """Halve observations."""
    if not isinstance(env, gymnasium.vector.VectorEnv):
        return TransformObservation(env, half, env.observation_space)
    if env.metadata["autoreset_mode"] is SAME_STEP:
        return Halved(env)
    return TransformObservations(env, half)


@pytest.mark.parametrize("face", ["all", "one"])
@pytest.mark.parametrize("name", OWN)
def test_recipes_reproduce_observations_of_vector_environments(name: str, face: str) -> None:
    wrap, recipe = OWN[name]
    batches = Memory()
    env: Any = ExperienceRecorder(wrap(vector("2 players", face)), batches)
    log = log_of(env, face)
    log.begin(env.reset(seed=7)[0])
    walk(env, log, 60, np.random.default_rng(1))
    env.close()
    log.check(batches)
    assert {batch.recipe for batch in batches} == {recipe}
    assert {batch.metadata["observations"] for batch in batches} == {"boards"}


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("face", ["all", "one"])
@pytest.mark.parametrize("wrap", [halved, Mirrored, lambda env: halved(FrameStack(env, 2))], ids=["scaled", "hidden", "over"])
def test_observations_of_foreign_wrappers_are_kept(wrap: Wrap, face: str, copies: bool) -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(wrap(vector("3 players on drawn sizes", face, copy=copies)), batches)
    log = log_of(env, face)
    log.begin(env.reset(seed=7)[0])
    walk(env, log, 45, np.random.default_rng(1))
    env.flush()
    walk(env, log, 30, np.random.default_rng(2))
    env.close()
    log.check(batches, masks=False)
    assert {batch.metadata["observations"] for batch in batches} == {"dense"}
    assert all(batch.dense is not None and batch.metadata["wrappers"] for batch in batches)


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_games_of_every_dtype_are_recorded_as_boards(dtype: str) -> None:
    batches = []
    for kind in ("float32", dtype):
        sink = Memory()
        with ExperienceRecorder(generals_env.make_vec(2, height=6, width=6, max_turns=30, dtype=kind), sink, "run") as env:
            env.reset(seed=5)
            for _ in range(40):
                env.step(env.act(["expander", "random"]))
        batches.append(ExperienceBatch.concat(sink))
    assert batches[1].dense is None
    assert same(batches[1].states(), batches[0].states())
    assert same(batches[1].next_action_masks(), batches[0].next_action_masks())


@pytest.mark.parametrize("mode", [NEXT_STEP, DISABLED], ids=lambda mode: mode.name)
def test_dense_observations_follow_autoreset_mode(mode: AutoresetMode) -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(halved(vector("2 players", "one", autoreset_mode=mode)), batches)
    log = log_of(env, "one", mode)
    log.begin(env.reset(seed=7)[0])
    walk(env, log, 70, np.random.default_rng(1))
    env.close()
    log.check(batches)


SINGLE: dict[str, Wrap] = {
    **{name: wrap for name, (wrap, _) in OWN.items()},
    "scaled": halved,
    "flattened": FlattenObservation,
    "scaled stack": lambda env: halved(FrameStack(env, 3)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_records_of_one_game_equal_its_observations(name: str) -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(SINGLE[name](GeneralsSingle("expander", player=1, **SMALL)), batches)
    rows: list[tuple[Any, ...]] = []
    rng = np.random.default_rng(3)
    for seed in (4, None, 5):
        view, _ = env.reset(seed=seed)
        for turn in range(1000):
            action = int(chosen(env.unwrapped.action_masks(), rng))
            following, reward, terminated, truncated, info = env.step(action)
            rows.append((action, info["illegal_action"], reward, terminated, truncated, tensor(view), tensor(following)))
            view = following
            if terminated or truncated or (seed is None and turn == 9):
                break
    env.close()
    columns = list(zip(*rows, strict=True))
    illegal = np.array(columns[1])
    assert batches.column("action")[~illegal].tolist() == np.array(columns[0])[~illegal].tolist()
    assert same(batches.column("rewards"), np.array(columns[2], np.float32))
    assert batches.column("terminated").tolist() == list(columns[3])
    assert batches.column("truncated").tolist() == list(columns[4])
    assert same(batches.column("states"), np.stack(columns[5]))
    assert same(batches.column("next_states"), np.stack(columns[6]))
    assert (batches[0].dense is not None) == (name in ("scaled", "flattened", "scaled stack"))
    assert batches.column("player_id").tolist() == [1] * len(rows)


def tensor(view: Any) -> np.ndarray:
    return view["observation"] if isinstance(view, dict) else view


SB3: dict[str, tuple[Wrap, bool]] = {
    "bare": (SB3VecEnv, False),
    "monitored": (lambda env: VecMonitor(SB3VecEnv(env)), False),
    "own wrappers": (lambda env: VecMonitor(SB3VecEnv(FrameStack(FogMemory(env), 2))), False),
    "normalized": (lambda env: VecNormalize(SB3VecEnv(env), norm_reward=False, norm_obs_keys=["observation"]), True),
    "scaled below": (lambda env: SB3VecEnv(halved(env)), True),
}


@pytest.mark.parametrize("name", SB3)
def test_records_of_sb3_equal_its_observations(name: str) -> None:
    wrap, dense = SB3[name]
    batches = Memory()
    env: Any = ExperienceRecorder(wrap(GeneralsSingleVector(3, "expander", **SMALL)), batches)
    assert {ExperienceRecorder, VecEnvWrapper} <= set(type(env).__mro__)
    log = log_of_sb3(env)
    env.seed(5)
    log.begin(env.reset())
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = chosen(np.stack(env.env_method("action_masks")), rng, 0)
        views, rewards, dones, infos = env.step(actions)
        final = np.full(3, None, object)
        for b in np.flatnonzero(dones):
            final[b] = infos[b]["terminal_observation"]
        cut = np.array([info["TimeLimit.truncated"] for info in infos])
        told = {"illegal_action": np.array([info["illegal_action"] for info in infos]), "final_obs": final, "_final_obs": dones}
        log.take(actions[:, None], (views, rewards, dones & ~cut, cut, told))
    env.close()
    log.check(batches)
    assert {batch.metadata["observations"] for batch in batches} == {"dense" if dense else "boards"}
    assert batches[0].metadata["seed"] == 5


def log_of_sb3(env: Any) -> Log:
    return Log(env, 2, 0)


def test_turned_games_are_recorded_unturned() -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(RandomSymmetry(generals_env.make_vec(3, **SMALL), seed=1), batches)
    views, _ = env.reset(seed=1)
    rng = np.random.default_rng(0)
    bare: list[np.ndarray] = []
    for _ in range(20):
        bare.append(env.unwrapped.observe()["observation"])
        views, *_ = env.step(chosen(views["action_mask"], rng, 0))
    env.close()
    assert check_batches(batches) == 3 * 2 * 20
    states = batches.column("states")
    assert same(states, np.stack(bare).reshape(states.shape))
    assert not batches.column("illegal").any()
    assert batches[0].metadata["wrappers"] == ["RandomSymmetry"]


# --- The recorder itself --------------------------------------------------------------------------------------------------


def test_disabled_recorder_only_passes_on(tmp_path: Path) -> None:
    faces: list[tuple[Any, Any]] = [
        (generals_env.make(**SMALL), lambda env: env.game.collectors),
        (generals_env.parallel_env(**SMALL), lambda env: env.game.collectors),
        (generals_env.make_vec(2, **SMALL), lambda env: env.listeners),
        (GeneralsSingle(**SMALL), lambda env: env.games.listeners),
        (SB3VecEnv(GeneralsSingleVector(2, **SMALL)), lambda env: env.games.listeners),
    ]
    for env, listeners in faces:
        folder = tmp_path / "runs"
        off: Any = ExperienceRecorder(env, folder, enabled=False)
        assert type(off) is type(ExperienceRecorder(env, Memory()))
        listeners(env).clear()
        off.reset()
        if hasattr(off, "play"):
            assert off.play(5, ["random", "random"]).turns == 10
        off.flush()
        assert (off.experiences, off.games) == (0, 0)
        assert not listeners(env)
        assert not folder.exists()
        off.close()


def test_metadata_names_origin_of_experience(tmp_path: Path) -> None:
    config = {**KINDS["4 players in teams"], "reward": RewardConfig.original(), "rules": "v13"}
    env: Any = ExperienceRecorder(generals_env.make_vec(3, **config), tmp_path, policies=["a", "b", "a", None])
    env.reset(seed=[1, 2, 3])
    env.step(env.unwrapped.act(CROWD))
    env.flush()
    env.reset(seed=9)
    env.play(3, CROWD)
    env.reset()
    env.step(env.unwrapped.act(CROWD))
    env.close()
    told = [metadata for metadata, _ in groupby(dict(batch.metadata) for batch in open_dataset(tmp_path))]
    assert [part["seed"] for part in told] == [[1, 2, 3], 9, None]
    assert [part["policies"] for part in told] == [["a", "b", "a", None], CROWD, ["a", "b", "a", None]]
    for part in told:
        assert part["generals_env"] == generals_env.__version__
        assert part["schema"] == 2
        assert part["rules"] == part["config"]["rules"] == "v13"
        assert part["config"]["teams"] == [0, 1, 0, 1]
        assert part["reward"]["territory_gained"] == 0.01
        assert len(part["reward_hash"]) == 12
        assert part["observations"] == "boards"
    default = particulars_of(generals_env.make(**SMALL), lambda env: env.step(0) or env.step(0))
    assert default["reward_hash"] != told[0]["reward_hash"]
    assert default["policies"] is None
    assert particulars_of(GeneralsSingle("random", player=1, **SMALL), lambda env: env.step(0))["policies"] == ["random", None]


def particulars_of(env: Any, act: Callable[[Any], Any]) -> dict[str, Any]:
    batches = Memory()
    recorder = ExperienceRecorder(env, batches)
    recorder.reset(seed=1)
    act(recorder)
    recorder.close()
    return dict(batches[0].metadata)


def test_recording_starts_amid_games_and_ends_with_recorder(tmp_path: Path) -> None:
    venv = generals_env.make_vec(3, **SMALL)
    venv.reset(seed=1)
    for _ in range(4):
        venv.step(venv.act(["random", "random"]))
    env: Any = ExperienceRecorder(venv, tmp_path)
    for _ in range(3):
        env.step(venv.act(["random", "random"]))
    for other in (copy.deepcopy(venv), pickle.loads(pickle.dumps(venv))):
        assert other.listeners == []
        other.step(other.act(["random", "random"]))
    del env
    gc.collect()
    venv.step(venv.act(["random", "random"]))
    batches = list(open_dataset(tmp_path))
    assert check_batches(batches) == 18
    assert batches[0].turn.min() == 4


def test_sinks_that_keep_batches_and_sinks_that_do_not_get_the_same() -> None:
    class Copies(Memory):
        def write(self, batch: ExperienceBatch) -> None:
            super().write(batch.select(np.arange(len(batch))))

    kept, copied = Memory(), Copies()
    for batches in (kept, copied):
        env: Any = ExperienceRecorder(generals_env.make_vec(12, **SMALL), batches, run_id="run")
        env.reset(seed=3)
        for _ in range(3):
            env.play(20, ["expander", "random"])
            for _ in range(9):
                env.step(env.unwrapped.act(["random", "random"]))
        env.close()
    assert check_batches(kept) == check_batches(copied)
    for name in ("action", "game_id", "sequence", "states", "next_states"):
        assert same(kept.column(name), copied.column(name))


def test_foreign_environments_are_refused() -> None:
    with refused(ConfigError, "env: expected an environment of generals_env, got CartPoleEnv"):
        ExperienceRecorder(gymnasium.make("CartPole-v1"), Memory())
    with refused(ConfigError, "env: expected an environment of generals_env, got SyncVectorEnv"):
        ExperienceRecorder(gymnasium.make_vec("CartPole-v1", 1, "sync"), Memory())
    with refused(ConfigError, "env: expected an AEC, parallel, vector or single-agent environment, or a VecEnv, got int"):
        ExperienceRecorder(5, Memory())
    with refused(ConfigError, "policies: expected one for each of 2 players, got ['a']"):
        ExperienceRecorder(generals_env.make_vec(2), Memory(), policies=["a"])
    with refused(ConfigError, "opponents: expected False where wrappers change observations"):
        ExperienceRecorder(halved(GeneralsSingleVector(2, **SMALL)), Memory(), opponents=True)
    env: Any = ExperienceRecorder(halved(generals_env.make_vec(2, **SMALL)), Memory())
    env.reset()
    with refused(ConfigError, "play: expected wrappers that leave observations as they are, got "):
        env.play(5, ["random", "random"])


def test_recorders_import_stable_baselines_only_when_used() -> None:
    script = """
import sys, generals_env
from generals_env.recorders import ExperienceRecorder
for env in (generals_env.make(), generals_env.make_vec(1)):
    ExperienceRecorder(env, "unused", enabled=False)
assert "stable_baselines3" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=TESTS)
