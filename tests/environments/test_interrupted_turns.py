"""Ctrl-C at any place of a turn: all of it is played, shown and recorded, once, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.helpers import Memory, any_legal, check_batches, same
from support.interrupting import Interrupter

import generals_env
from generals_env.recorders import ExperienceRecorder
from generals_env.single import GeneralsSingle
from generals_env.wrappers import FogMemory, FrameStack, PotentialShaping, RandomSymmetry

SMALL: dict[str, Any] = {"height": 5, "width": 5, "max_turns": 9}


class Negated(gymnasium.vector.VectorObservationWrapper):
    """A wrapper that is not ours: records keep what it shows."""

    def observations(self, observations: Any) -> Any:
        return {**observations, "observation": -observations["observation"]}

    @property
    def single_observation_space(self) -> Any:
        space = self.env.single_observation_space
        tensors = gymnasium.spaces.Box(-1.0, 0.0, space["observation"].shape, np.float32)
        return gymnasium.spaces.Dict({"observation": tensors, "action_mask": space["action_mask"]})


def layered(env: Any) -> Any:
    """Put the package's own wrappers over an environment of many games or of one."""
    return PotentialShaping(RandomSymmetry(FrameStack(FogMemory(env), 2), seed=1), land=1.0)


def single_vector(**options: Any) -> Any:
    return gymnasium.make_vec("generals_env/Generals-v0", 2, **options, **SMALL)


def sb3(env: Any) -> Any:
    pytest.importorskip("stable_baselines3")
    from generals_env.wrappers import SB3VecEnv

    return SB3VecEnv(env)


def lazy(views: Any) -> Any:
    """A policy that always passes."""
    return np.full(len(views["action_mask"]), views["action_mask"].shape[1] - 1)


#: Environments, without their recorder.
KINDS: dict[str, Callable[[], Any]] = {
    "AEC": lambda: generals_env.make(**SMALL),
    "AEC, four players": lambda: generals_env.make(players=4, **{**SMALL, "height": 8, "width": 8}),
    "parallel": lambda: generals_env.parallel_env(**SMALL),
    "vector": lambda: generals_env.make_vec(2, **SMALL),
    "vector, next step": lambda: generals_env.make_vec(2, autoreset_mode="NEXT_STEP", **SMALL),
    "vector, wrapped": lambda: layered(generals_env.make_vec(2, **SMALL)),
    "vector, another wrapper": lambda: Negated(generals_env.make_vec(2, autoreset_mode="NEXT_STEP", **SMALL)),
    "one player, vector": single_vector,
    "one player, vector, a callable": lambda: single_vector(opponent=lazy),
    "one player": lambda: gymnasium.make("generals_env/Generals-v0", disable_env_checker=True, **SMALL),
    "one player, wrapped": lambda: layered(gymnasium.make("generals_env/Generals-v0", disable_env_checker=True, **SMALL)),
    "SB3": lambda: sb3(single_vector()),
    "SB3, wrapped": lambda: sb3(layered(single_vector())),
}


#: How many places further each interrupt is: the calls of some are long.
STRIDES = {"AEC": 1, "AEC, four players": 1, "parallel": 1}
LONG_STRIDE = 7


def games_of(env: Any) -> Any:
    """Return the vector face at the bottom."""
    bottom = env.unwrapped
    return getattr(bottom, "games", bottom)


class Course:
    """A face of the games, played with actions that a generator draws."""

    def __init__(self, env: Any) -> None:
        self.env = env
        self.aec = hasattr(env, "agent_iter")
        self.parallel = hasattr(env, "possible_agents") and not self.aec
        self.sb3 = hasattr(env, "step_wait")
        self.reset()

    def reset(self) -> Any:
        if self.sb3:
            self.env.seed(1)
            return self.env.reset()
        return self.env.reset(seed=1)

    def choose(self, rng: np.random.Generator) -> Any:
        """Return actions for the turn that comes, now and then one that is not legal."""
        env = self.env
        if self.aec:
            if not env.agents:
                return "reset"
            observation, _, terminated, truncated, _ = env.last()
            return None if terminated or truncated else any_legal(observation["action_mask"], rng)
        if self.parallel:
            game = env.unwrapped.game
            return {name: any_legal(game.masks[env.unwrapped.index[name]], rng) for name in env.agents} or "reset"
        games = games_of(env)
        if isinstance(env.unwrapped, GeneralsSingle) and env.unwrapped._over:
            return "reset"
        masks = games._view(games.batch.views.masks)
        if isinstance(env.unwrapped, GeneralsSingle):
            return any_legal(masks[0], rng)
        flat = [any_legal(mask, rng) for mask in masks.reshape(-1, masks.shape[-1])]
        return np.array(flat).reshape(masks.shape[:-1])

    def step(self, actions: Any) -> Any:
        if isinstance(actions, str):
            return self.reset()
        told = self.env.step(actions)
        return told[:4] if isinstance(told, tuple) and not self.sb3 else told[:3] if told is not None else None

    def look(self) -> Any:
        """Return all that the environment and its wrappers tell or keep."""
        env: Any = self.env
        bottom = env.unwrapped
        kept: list[Any] = []
        while env is not bottom:
            for thing in (env, vars(env).get("change")):
                if thing is not None:
                    kept += [value.copy() for value in vars(thing).values() if isinstance(value, np.ndarray)]
            env = vars(env).get("env", vars(env).get("venv"))
        recorded = getattr(self.env, "journal", None)
        if recorded is not None:
            kept += [recorded.experiences, recorded.games]
        if self.aec or self.parallel:
            game = bottom.game
            kept += [[array.copy() for array in game.boards], game.observations.copy(), game.masks.copy()]
            kept += [game.active.copy(), game.illegal_count.copy(), game.rewards.copy(), list(bottom.agents)]
            if self.aec:
                tables = (bottom.rewards, bottom._cumulative_rewards, bottom.terminations, bottom.truncations)
                kept += [
                    bottom.agent_selection,
                    [dict(table) for table in tables],
                    {k: dict(v) for k, v in bottom.infos.items()},
                ]
            return kept
        games = games_of(self.env)
        kept += [array.copy() for array in (*games.batch.boards, *games.batch.views[:2], *games.batch.outcome[1:-1])]
        kept += [games.batch.rng.copy(), games.batch.policy_rng.copy(), games._done.copy()]
        if self.sb3:
            kept.append(bottom.masks.copy())
        return kept


def records(batches: Memory) -> Iterator[Any]:
    """Yield the columns of all that was recorded, but for names of games and times."""
    for name in ("turn", "player_id", "action", "reward", "illegal", "terminated", "truncated", "sequence"):
        yield batches.column(name)
    yield batches.column("states")
    yield batches.column("next_states")


@pytest.mark.parametrize("recorded", [False, True], ids=["alone", "recorded"])
@pytest.mark.parametrize("kind", KINDS)
def test_interrupt_at_any_place_of_a_turn_leaves_all_of_it_or_nothing(kind: str, recorded: bool) -> None:
    sinks = Memory(), Memory()
    env, control = (Course(ExperienceRecorder(KINDS[kind](), sink) if recorded else KINDS[kind]()) for sink in sinks)
    rng = np.random.default_rng(1)
    for _ in range(12):  # kernels are compiled, and a game ends
        actions = control.choose(rng)
        env.step(actions), control.step(actions)
    interrupted = sent = number = missed = 0
    while missed < 20:  # some calls are shorter than others
        actions = control.choose(rng)
        before, interrupter = control.look(), Interrupter(number)
        interrupted += interrupter(lambda actions=actions: env.step(actions))  # type: ignore[misc]
        if not same(env.look(), before):
            control.step(actions)
        assert same(env.look(), control.look()), number
        sent += interrupter.sent
        missed = 0 if interrupter.sent else missed + 1
        number += STRIDES.get(kind, LONG_STRIDE) * interrupter.sent
        if interrupter.sent:
            actions = control.choose(rng)
            assert same(env.step(actions), control.step(actions)), number
    assert interrupted == sent > 10
    if recorded:
        env.env.flush(), control.env.flush()
        assert len(sinks[0]) > 0
        assert same(list(records(sinks[0])), list(records(sinks[1])))
        if kind != "vector, another wrapper":
            check_batches(sinks[0]) if "one player" not in kind and "SB3" not in kind else None
    env.env.close(), control.env.close()
