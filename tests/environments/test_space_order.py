"""Dict spaces are compared by equality: an equal one, and observations, may list their keys in any order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from support.helpers import same

import generals_env
from generals_env import ENV_ID, ConfigError
from generals_env.recorders import ExperienceRecorder, open_dataset
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers import FogMemory, FrameStack, Opponent, PotentialShaping, RandomSymmetry

SMALL: dict[str, Any] = {"height": 6, "width": 6, "max_turns": 6}


def reordered(space: Any) -> spaces.Dict:
    """Return an equal space that lists its keys the other way round."""
    other = spaces.Dict(list(space.spaces.items())[::-1])
    assert other == space
    assert list(other) == list(space)[::-1]
    return other


def turned(observation: Any) -> Any:
    """Return an observation whose keys come the other way round."""
    return dict(reversed(observation.items()))


class Reordered(gymnasium.ObservationWrapper[Any, Any, Any]):
    """Shows the same with the keys in another order."""

    def __init__(self, env: Any) -> None:
        """Wrap ``env``."""
        super().__init__(env)
        self.observation_space = reordered(env.observation_space)

    def observation(self, observation: Any) -> Any:
        """Return it reordered."""
        return turned(observation)


class ReorderedVector(VectorWrapper):  # Gymnasium's class for observations takes no SAME_STEP
    """Shows the same of many games."""

    def __init__(self, env: Any) -> None:
        """Wrap ``env``."""
        super().__init__(env)
        self.single_observation_space = reordered(env.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, **options: Any) -> Any:
        """Begin new games."""
        observations, infos = self.env.reset(**options)
        return turned(observations), infos

    def step(self, actions: Any) -> Any:
        """Play a turn; last observations are reordered, too."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        if "final_obs" in infos:
            final = np.full(self.num_envs, None, object)
            for index in np.flatnonzero(infos["_final_obs"]):
                final[index] = turned(infos["final_obs"][index])
            infos = {**infos, "final_obs": final}
        return turned(observations), rewards, terminated, truncated, infos


def course(env: Any, count: int = 9) -> list[Any]:
    """Return what some turns of passing give."""
    action = np.full(env.action_space.shape, 288)
    found = [env.reset(seed=3)]
    for _ in range(count):
        *step, infos = env.step(action)
        found.append((*step, {name: value.tolist() if name == "final_obs" else value for name, value in infos.items()}))
        if not action.shape and (found[-1][2] or found[-1][3]):
            found.append(env.reset())
    return found


WRAPPERS = {
    "FrameStack": lambda env: FrameStack(env, 2),
    "FogMemory": FogMemory,
    "PotentialShaping": lambda env: PotentialShaping(env, land=0.5),
    "RandomSymmetry": lambda env: RandomSymmetry(env, seed=1),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_space_order_below_a_wrapper_makes_no_difference(wrapper: str) -> None:
    wrap: Any = WRAPPERS[wrapper]
    for make, reorder in (
        (lambda: GeneralsSingle(**SMALL), Reordered),
        (lambda: GeneralsSingleVector(2, **SMALL), ReorderedVector),
        (lambda: generals_env.make_vec(2, **SMALL), ReorderedVector),
    ):
        env, plain = wrap(reorder(make())), wrap(make())
        assert env.observation_space == plain.observation_space
        assert same(course(env), course(plain))


def test_space_order_other_dicts_are_still_refused() -> None:
    class More(gymnasium.ObservationWrapper[Any, Any, Any]):
        def __init__(self, env: Any) -> None:
            super().__init__(env)
            self.observation_space = spaces.Dict({**env.observation_space.spaces, "more": spaces.Discrete(2)})

        def observation(self, observation: Any) -> Any:
            return {**observation, "more": 1}

    with pytest.raises(ConfigError, match="env: expected observations that are dicts of observation and action_mask, got Dict"):
        FrameStack(More(gymnasium.make(ENV_ID, **SMALL)))


def test_space_order_makes_no_difference_to_recorders(tmp_path: Path) -> None:
    found = []
    for number, reorder in enumerate((ReorderedVector, lambda env: env)):
        place = tmp_path / str(number)
        with ExperienceRecorder(reorder(GeneralsSingleVector(2, **SMALL)), place, run_id="a") as env:
            course(env)
        batch = next(iter(open_dataset(place)))
        found.append((batch.states(), batch.next_states(), batch.rewards()))
        assert batch.dense is None  # an equal space is no other observation
    np.testing.assert_equal(found[0], found[1])
    place = tmp_path / "one"
    with ExperienceRecorder(Reordered(GeneralsSingle(**SMALL)), place) as env:
        course(env)
    assert open_dataset(place).experiences == 9


def test_space_order_makes_no_difference_to_sb3_and_opponents() -> None:
    pytest.importorskip("stable_baselines3")
    from generals_env.recorders import BoardReplayBuffer
    from generals_env.wrappers import SB3VecEnv

    env, plain = SB3VecEnv(ReorderedVector(GeneralsSingleVector(2, **SMALL))), SB3VecEnv(GeneralsSingleVector(2, **SMALL))
    for each in (env, plain):
        each.seed(3)
    assert same(env.reset(), plain.reset())
    for _ in range(9):
        assert same(env.step(np.full(2, 288)), plain.step(np.full(2, 288)))
    space = reordered(plain.observation_space)
    buffer = BoardReplayBuffer(10, space, plain.action_space, n_envs=2, env=plain)
    last: Any = plain.reset()
    for _ in range(4):
        seen, rewards, dones, infos = plain.step(np.full(2, 288))
        buffer.add(turned(last), turned(seen), np.full(2, 288), rewards, dones, infos)
        last = seen
    assert buffer.sample(3).observations["observation"].shape == (3, 9, 6, 6)
    observation, _ = GeneralsSingle(**SMALL).reset(seed=1)
    for name in ("random", "expander"):
        assert Opponent(name, 1)(observation) == Opponent(name, 1)(turned(observation))
