"""Tests options of every entry point: unknown names, numbers of numpy, and values that went through JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import DUEL, same

import generals_env
from generals_env import ENV_ID, ConfigError, GameConfig, OptionError, RewardConfig, generals_v0, replay
from generals_env.config import MODIFIERS, OPTIONS
from generals_env.recorders import (
    ExperienceConsumer,
    ExperienceLog,
    ExperienceRecorder,
    ExperienceServer,
    Limits,
    Position,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    Retry,
    RetryingSink,
    TrainerConfig,
)
from generals_env.recorders.stream.client.async_stream import stream_async
from generals_env.recorders.stream.client.background_reader import read_into
from generals_env.recorders.stream.client.log_cache import cached
from generals_env.recorders.stream.client.sharded import ShardedConsumer
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers import FogMemory, FrameStack, PotentialShaping, RandomSymmetry

SMALL = {"height": 6, "width": 6}
BATCH = ("copy", "autoreset_mode", "threads", "max_episode_steps")
LEARNER = ("opponent", "player", "dtype")

#: Called functions, and their options beside those of a game.
FACES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "make": (generals_env.make, ("max_cycles",)),
    "parallel_env": (generals_env.parallel_env, ("max_cycles",)),
    "make_vec": (lambda **options: generals_env.make_vec(2, **options), ("num_envs", "dtype", *BATCH)),
    "generals_v0.env": (generals_v0.env, ("max_cycles",)),
    "generals_v0.raw_env": (generals_v0.raw_env, ("max_cycles",)),
    "generals_v0.parallel_env": (generals_v0.parallel_env, ("max_cycles",)),
    "GeneralsSingle": (GeneralsSingle, LEARNER),
    "GeneralsSingleVector": (GeneralsSingleVector, ("num_envs", *LEARNER, *BATCH)),
    "gymnasium.make": (lambda **options: gymnasium.make(ENV_ID, **options), LEARNER),
    "gymnasium.make_vec": (
        lambda **options: gymnasium.make_vec(ENV_ID, num_envs=2, **options),
        ("num_envs", *LEARNER, *BATCH),
    ),
    "gymnasium.make_vec, in sync": (
        lambda **options: gymnasium.make_vec(ENV_ID, num_envs=2, vectorization_mode="sync", **options),
        LEARNER,
    ),
    "GameConfig.from_options": (GameConfig.from_options, ()),
}


@pytest.mark.parametrize("face", FACES)
def test_options_unknown_name_raises_type_error_with_all_names(face: str) -> None:
    call, own = FACES[face]
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'frameskip'") as caught:
        call(frameskip=1)
    assert type(caught.value) is OptionError
    assert isinstance(caught.value, ConfigError)
    assert "did you mean" not in str(caught.value)
    listed = str(caught.value).partition("expected one of ")[2].partition(", got 'frameskip'")[0].split(", ")
    assert sorted(listed) == sorted((*own, *OPTIONS))


@pytest.mark.parametrize("face", FACES)
def test_options_misspelt_name_gets_suggestion(face: str) -> None:
    call, own = FACES[face]
    for name in (*own, "max_turns", "render_mode"):
        if name == "num_envs" and face != "GeneralsSingleVector":  # given already
            continue
        misspelt = name[:-2] + name[-1]
        with pytest.raises(OptionError, match=f"unexpected keyword argument '{misspelt}'; did you mean '{name}'\\?"):
            call(**{misspelt: 1})


def test_options_from_mapping_are_checked_like_keywords() -> None:
    for call in (
        lambda: GameConfig(reward={"win_gam": 1.0}),  # type: ignore[arg-type]
        lambda: generals_env.make(reward={"win_gam": 1.0}),
    ):
        with pytest.raises(OptionError, match=r"RewardConfig\(\) got an unexpected .* 'win_gam'; did you mean 'win_game'\?"):
            call()
    with pytest.raises(ConfigError, match="reward win_game: expected a finite number, got '5'"):
        generals_env.make(reward={"win_game": "5"})
    with pytest.raises(ConfigError, match="reward: expected RewardConfig or a mapping of its fields, got 'original'"):
        generals_env.make(reward="original")


@pytest.fixture
def consumer() -> Iterator[ExperienceConsumer]:
    """Return a consumer that has not connected."""
    with ExperienceConsumer("127.0.0.1:9") as made:
        yield made


def test_options_passed_on_by_functions_are_checked_there(consumer: ExperienceConsumer, tmp_path: Path) -> None:
    async def first() -> None:
        async for _ in stream_async(consumer, batchsize=3):
            pass

    sharded = ShardedConsumer("127.0.0.1:9", 2)
    with ExperienceLog(tmp_path / "log") as log:
        calls: list[tuple[Callable[[], Any], str, str]] = [
            (lambda: PrioritizedReplayBuffer(9, aplha=1.0), "aplha", "alpha"),
            (lambda: PrioritizedReplayBuffer(9, overflw="raise"), "overflw", "overflow"),
            (lambda: ShardedConsumer("127.0.0.1:9", 2, tokn="a"), "tokn", "token"),
            (lambda: sharded.stream_experiences(batchsize=3), "batchsize", "batch_size"),
            (lambda: read_into(consumer, ReplayBuffer(9), batchsize=3), "batchsize", "batch_size"),
            (lambda: cached(consumer, log, batchsize=3), "batchsize", "batch_size"),
            (lambda: asyncio.run(first()), "batchsize", "batch_size"),
        ]
        for call, name, meant in calls:
            with pytest.raises(OptionError, match=f"unexpected keyword argument '{name}'; did you mean '{meant}'\\?"):
                call()
        with pytest.raises(OptionError, match="unexpected keyword argument 'shards'"):
            sharded.stream_experiences(shards=2)
    sharded.close()


# --- JSON, mappings, numpy ------------------------------------------------------------------------------------------------

SIZES = st.integers(12, 40) | st.tuples(st.integers(12, 20), st.integers(20, 30))
SHARES = st.floats(0.0, 0.3) | st.tuples(st.floats(0.0, 0.1), st.floats(0.1, 0.3))
WEIGHTS = st.integers(-5, 5) | st.floats(-100.0, 100.0, width=32)

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "height": SIZES,
    "width": SIZES,
    "max_turns": st.integers(1, 5000),
    "rules": st.sampled_from(["live", "v3", "v18"]),
    "fog": st.booleans(),
    "modifiers": st.lists(st.sampled_from(sorted(MODIFIERS)), unique=True).map(tuple),
    "mountain_density": SHARES,
    "city_density": st.none() | st.floats(0.0, 0.2),
    "reward": st.fixed_dictionaries({}, optional={field.name: WEIGHTS for field in dataclasses.fields(RewardConfig)}),
    "observation": st.sampled_from(["standard", "full"]),
    "render_mode": st.sampled_from([None, "human", "ansi", "rgb_array"]),
    "render_player": st.none() | st.integers(0, 3),
    "teams": st.none() | st.just((0, 1, 0, 1)) | st.just((5, 5, 6, 7)),
    "touch_turn": st.none(),  # for two players: test_competition_games.py
    "start": st.none() | st.just({"spawn_distance": (3, 9)}) | st.just({"minimum": 2, "maximum": 40}) | st.just((2, 6)),
}


def in_numpy(value: Any) -> Any:
    """Return numbers as numpy's scalars, and tuples of numbers as arrays."""
    if isinstance(value, dict):
        return {name: in_numpy(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return np.array(value)
    kinds = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}
    return value if value is None else kinds[type(value)](value)


def types_of(value: Any) -> Any:
    """Return the types of a value and of all in it."""
    if dataclasses.is_dataclass(value):
        return [types_of(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return [tuple, *map(types_of, value)] if isinstance(value, tuple) else type(value)


def test_options_property_covers_every_field() -> None:
    assert set(FIELDS) | {"players", "map"} == set(OPTIONS)


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({"players": st.just(4)}, optional=FIELDS))
def test_options_from_json_and_numpy_give_equal_configuration(options: dict[str, Any]) -> None:
    config = GameConfig.from_options(**options)
    assert config.reward == RewardConfig(**options.get("reward", {}))
    for other in (
        GameConfig.from_options(**json.loads(json.dumps(options))),
        GameConfig.from_options(**json.loads(json.dumps(dataclasses.asdict(config)))),
        GameConfig.from_options(**in_numpy(options)),
        GameConfig(**in_numpy(options)),
    ):
        assert other == config
        assert hash(other) == hash(config)
        assert types_of(other) == types_of(config)


def test_options_of_drawn_map_survive_json() -> None:
    config = GameConfig.from_options(map=DUEL, reward={"win_game": np.float32(2)})
    assert GameConfig.from_options(**json.loads(json.dumps(dataclasses.asdict(config)))) == config
    assert GameConfig.from_options(map=np.str_(DUEL), reward=RewardConfig(win_game=2)) == config


@pytest.mark.parametrize("name", ["players", "height", "max_turns", "render_player", "mountain_density", "city_density"])
@pytest.mark.parametrize("bad", [True, np.bool_(True), np.array([[6]]), np.complex128(6)], ids=repr)
def test_options_bools_and_arrays_are_not_numbers(name: str, bad: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: expected "):
        GameConfig.from_options(**{name: bad})


def test_options_number_with_too_many_digits_raises_package_error() -> None:
    for name in ("players", "height", "teams", "rules", "reward", "render_mode"):
        with pytest.raises(ConfigError, match=r"expected .*got .*number of many digits"):
            GameConfig.from_options(**{name: 10**5000})


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda env: env,
    "FogMemory, FrameStack": lambda env: FrameStack(FogMemory(env), np.int64(2)),
    "PotentialShaping": lambda env: PotentialShaping(env, gamma=np.float32(0.5), land=np.float64(0.25), army=1),
    "RandomSymmetry": lambda env: RandomSymmetry(env, seed=np.uint8(3)),
    "FlattenObservation": gymnasium.wrappers.FlattenObservation,
}

GIVEN = {
    "reward": RewardConfig(win_game=5.0, city_lost=np.float32(-0.25)),  # type: ignore[arg-type]
    "players": np.int64(3),
    "height": (np.int64(6), np.int64(7)),
    "width": np.array([6, 7]),
    "teams": (0, 1, 1),
    "modifiers": ("torus",),
    "mountain_density": (0.0, np.float32(0.125)),
    "opponent": "random",
    "player": np.int16(1),
}


def course(env: Any) -> list[Any]:
    """Return the results of some turns with the first legal actions."""
    shape = env.action_space.shape
    return [env.reset(seed=5), *(env.step(np.full(shape, turn) if shape else turn) for turn in range(4))]


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_spec_from_json_makes_same_environment(wrapper: str) -> None:
    env = WRAPPED[wrapper](gymnasium.make(ENV_ID, max_episode_steps=3, **GIVEN))
    again = gymnasium.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.spec == env.spec
    assert again.unwrapped.config == env.unwrapped.config
    assert again.observation_space == env.observation_space
    assert same(course(again), course(env))


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, "DISABLED"], ids=str)
def test_spec_from_json_makes_same_games(mode: Any) -> None:
    options = {**GIVEN, "autoreset_mode": mode, "copy": np.bool_(False), "threads": np.int64(1), "max_episode_steps": 9}
    env = gymnasium.make_vec(ENV_ID, num_envs=np.int64(2), **options)  # type: ignore[arg-type]
    again = gymnasium.make_vec(EnvSpec.from_json(env.spec.to_json()))  # type: ignore[union-attr]
    assert again.spec == env.spec
    for name in ("config", "num_envs", "autoreset_mode", "copy", "player", "opponent", "metadata"):
        assert getattr(again.unwrapped, name) == getattr(env.unwrapped, name)
    assert same(course(again), course(env))


@dataclasses.dataclass
class Passing:
    """An opponent that is a dataclass."""

    index: int = 288

    def __call__(self, views: Any) -> Any:
        """Pass."""
        return np.full(len(views["action_mask"]), self.index)


def test_spec_keeps_opponent_as_given() -> None:
    opponent = Passing()
    env = gymnasium.make(ENV_ID, opponent=opponent, reward=RewardConfig(win_game=2), **SMALL)  # type: ignore[arg-type]
    again = gymnasium.make(env.spec)  # type: ignore[arg-type]
    assert same(course(again), course(env))


def test_spec_of_recorded_environment_is_that_of_the_environment(tmp_path: Path) -> None:
    env = FrameStack(gymnasium.make(ENV_ID, **SMALL), 2)
    with ExperienceRecorder(env, tmp_path / "runs") as recorded:
        assert recorded.spec == env.spec
        assert gymnasium.make(EnvSpec.from_json(recorded.spec.to_json())).spec == env.spec


def test_configurations_accept_mappings(tmp_path: Path) -> None:
    retry = {"tries": np.int64(2), "first_wait": 0.25}
    sink = RetryingSink(ReplayBuffer(9), retry)
    assert sink.retry == Retry(2, 0.25)
    with ExperienceConsumer("127.0.0.1:9", retry=retry) as consumer:
        assert consumer.retry == Retry(2, 0.25)
        consumer.stream_experiences(resume={"stream_id": "a", "next_sequence": 7})
        assert consumer.position == Position("a", 7)
    with ExperienceServer(ReplayBuffer(9), "127.0.0.1:0", limits={"max_connections": np.int64(3)}) as server:
        assert server.limits == Limits(max_connections=3)
    for call, name in (
        (lambda: RetryingSink(ReplayBuffer(9), {"tris": 2}), "Retry"),
        (lambda: ExperienceConsumer("127.0.0.1:9", retry={"tris": 2}), "Retry"),
        (lambda: ExperienceServer(ReplayBuffer(9), limits={"tris": 2}), "Limits"),
    ):
        with pytest.raises(OptionError, match=rf"^{name}\(\) got an unexpected keyword argument 'tris'"):
            call()
    with pytest.raises(ConfigError, match=r"resume: expected a mapping with 'next_sequence', got {'stream_id': 'a'}"):
        ExperienceConsumer("127.0.0.1:9").stream_experiences(resume={"stream_id": "a"})
    with pytest.raises(ConfigError, match="limits: expected Limits or a mapping of its fields, got 3"):
        ExperienceServer(ReplayBuffer(9), limits=3)  # type: ignore[arg-type]


def test_trainer_accepts_configuration_as_mapping() -> None:
    pytest.importorskip("torch")
    from generals_env.recorders import DistributedTrainer, QNetwork

    numbers = {"capacity": np.int64(64), "min_size": 8, "augment": np.bool_(True), "learning_rate": np.float32(0.5)}
    with DistributedTrainer([], QNetwork((9, 6, 6)), config=numbers) as trainer:
        assert trainer.config == TrainerConfig(capacity=64, min_size=8, augment=True, learning_rate=0.5)
        assert type(trainer.config.capacity) is int
    with pytest.raises(OptionError, match=r"TrainerConfig\(\) got an unexpected .* 'capcity'; did you mean 'capacity'\?"):
        DistributedTrainer([], QNetwork((9, 6, 6)), config={"capcity": 64})


def test_replays_accept_reward_as_mapping() -> None:
    game = replay.from_dict(
        {
            "version": 13,
            "id": "a",
            "mapWidth": 5,
            "mapHeight": 4,
            "usernames": ["a", "b"],
            "stars": [0, 0],
            "cities": [],
            "cityArmies": [],
            "generals": [0, 19],
            "mountains": [],
            "moves": [],
            "afks": [[1, 2], [1, 52]],
        }
    )

    class Rewards(list[Any]):
        def on_state_transition(self, transition: Any) -> None:
            self.append(transition.rewards.tolist())

        def on_game_end(self) -> None:
            pass

    given, mapped = Rewards(), Rewards()
    game.collect(given, RewardConfig(win_game=7.0, army_advantage=0.5))  # type: ignore[arg-type]
    game.collect(mapped, {"win_game": 7.0, "army_advantage": 0.5})  # type: ignore[arg-type]
    assert given == mapped
    assert any(any(rewards) for rewards in given)


# --- A limit of turns from Gymnasium --------------------------------------------------------------------------------------


def lengths(truncated: list[list[bool]]) -> list[int]:
    """Return the turns in which the first game was truncated."""
    return [turn for turn, flags in enumerate(truncated, 1) if flags[0]]


@pytest.mark.parametrize("mode", ["vector_entry_point", "sync"])
@pytest.mark.parametrize(("limit", "max_turns", "expected"), [(3, 1000, 3), (5, 4, 4), (4, 4, 4), (None, 4, 4), (-1, 4, 4)])
def test_max_episode_steps_truncates_batches_like_single_games(
    mode: str, limit: int | None, max_turns: int, expected: int
) -> None:
    options: dict[str, Any] = {**SMALL, "opponent": "random", "max_turns": max_turns, "max_episode_steps": limit}
    one = gymnasium.make(ENV_ID, **options)
    one.reset(seed=1)
    alone = [[bool(one.step(288)[3])] for _ in range(expected)]
    keywords = {"vector_kwargs": {"autoreset_mode": AutoresetMode.SAME_STEP}} if mode == "sync" else {}
    many = gymnasium.make_vec(ENV_ID, num_envs=2, vectorization_mode=mode, **keywords, **options)  # type: ignore[arg-type]
    many.reset(seed=1)
    truncated = []
    for turn in range(1, 2 * expected + 1):
        *_, cut, infos = many.step(np.full(2, 288))
        truncated.append(cut.tolist())
        assert ("final_obs" in infos) == (turn % expected == 0)
    many.close()
    assert lengths(truncated[:expected]) == lengths(alone) == [expected]
    assert lengths(truncated) == [expected, 2 * expected]


def test_max_episode_steps_truncates_games_of_all_players() -> None:
    venv = generals_env.make_vec(2, max_episode_steps=2, autoreset_mode="NEXT_STEP", **SMALL)
    venv.reset(seed=1)
    cut = [venv.step(np.full((2, 2), 288))[3].all() for _ in range(6)]
    assert cut == [False, True, False, False, True, False]


@pytest.mark.parametrize("bad", [0, -2, True, 2.0, "3"])
def test_max_episode_steps_is_checked(bad: Any) -> None:
    for make in (generals_env.make_vec, GeneralsSingleVector):
        with pytest.raises(ConfigError, match="max_episode_steps: expected an integer from 1 to 2147483647, got "):
            make(2, max_episode_steps=bad)
