"""Inspects the wrapper stack of an environment and derives how its observations are computed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorObservationWrapper, VectorWrapper
from pettingzoo.utils.wrappers.base import BaseWrapper
from pettingzoo.utils.wrappers.base_parallel import BaseParallelWrapper

from generals_env.config import GameConfig
from generals_env.engine.boards import COMPETITION_VERSION, Boards
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.packing import pack
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe, Shaping

__all__ = ["WrapperStack", "initial_observations", "inspect_wrappers", "is_sb3", "plain_recipe"]


@dataclass(frozen=True)
class WrapperStack:
    """How the observations of a wrapped environment are computed.

    Attributes:
        recipe: How the package's own wrappers make them of boards.
        dense: Whether other wrappers change observations, so that they are recorded as arrays.
        turned: Whether ``RandomSymmetry`` is among the wrappers: observations then differ from those of the recorded boards.
        wrappers: Names of all wrappers, from the lowest to the highest.
    """

    recipe: Recipe
    dense: bool = False
    turned: bool = False
    wrappers: tuple[str, ...] = field(default=())


def layers(env: Any) -> Iterator[Any]:
    """Yield an environment, the environment that it wraps, and so on down to the innermost one."""
    while True:
        yield env
        if isinstance(env, (gymnasium.Wrapper, VectorWrapper, BaseWrapper, BaseParallelWrapper)):
            env = env.env
        elif hasattr(type(env), "step_wait") and "venv" in vars(env):  # VecEnvWrapper, which may not be installed
            env = env.venv
        elif "vector_env" in vars(env):  # SB3VecEnv
            env = env.vector_env
        else:
            return


def space_of(env: Any) -> Any:
    """Return the space of one game's observations."""
    return env.single_observation_space if isinstance(env, VectorEnv) else env.observation_space


def inspect_wrappers(env: Any, config: GameConfig) -> WrapperStack:
    """Return how the observations of ``env`` are computed.

    The package's own ``FogMemory`` (directly over the environment), ``FrameStack`` (over that) and ``PotentialShaping``
    (anywhere) become a recipe. ``RandomSymmetry`` does not: the game itself is recorded, with the actions turned back, and
    observations are those of the board before it was turned. Any other wrapper that changes observations makes them dense:
    its space differs from the one below, or its class is a subclass of Gymnasium's observation wrappers.

    Args:
        env: An environment of this package, wrapped or not.
        config: Its configuration.
    """
    outwards = list(layers(env))[::-1]
    stack = WrapperStack(Recipe(config.observation, builds=config.version == COMPETITION_VERSION))
    for below, wrapper in pairwise(outwards):
        if "vector_env" in vars(wrapper):  # SB3VecEnv only adapts the interface
            continue
        change, name = own_change(wrapper)
        recipe, dense, turned = stack.recipe, stack.dense, stack.turned
        if name == "FogMemory":
            recipe = replace(recipe, memory=True)
        elif name == "FrameStack":
            dense = dense or recipe.frames > 1 < change.frames  # stacks of stacks
            recipe = replace(recipe, frames=max(recipe.frames, change.frames))
        elif name == "PotentialShaping":
            land, army, cities = change.weights.tolist()
            recipe = replace(recipe, shaping=(*recipe.shaping, Shaping(float(change.gamma), land, army, cities)))
        elif name == "RandomSymmetry":
            turned = True
        elif not isinstance(
            wrapper, (BaseWrapper, BaseParallelWrapper)
        ):  # PettingZoo's are assumed to leave observations alone
            changes = isinstance(wrapper, (gymnasium.ObservationWrapper, VectorObservationWrapper))
            dense = dense or changes or space_of(wrapper) != space_of(below)
        stack = WrapperStack(recipe, dense, turned, (*stack.wrappers, name))
    return stack


def own_change(wrapper: Any) -> tuple[Any, str]:
    """Return the ``ArrayTransform`` of a wrapper of this package, None for other wrappers, and the wrapper's name."""
    change = vars(wrapper).get("change")
    if type(change).__module__.startswith("generals_env.wrappers."):
        return change, change.name
    return None, type(wrapper).__name__


def plain_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe for batches with dense observations: it keeps only the layout, the shaping of rewards and the rules."""
    return replace(recipe, memory=False, frames=1)


def initial_observations(boards: Boards, recipe: Recipe, seat: int) -> Any:
    """Return the observations that a recipe makes of the first boards of games.

    Args:
        boards: The boards.
        recipe: How observations are made.
        seat: Of which player, or ``ALL_PLAYERS`` for all.

    Returns:
        (B, P, C, H, W), or (B, C, H, W) for one player.
    """
    count, players = boards.players.shape
    packed = pack(boards)
    height, width = int(boards.games[0]["height"]), int(boards.games[0]["width"])
    if recipe.memory:
        packed = packed._replace(memory=np.empty((count, players, boards.owner.shape[1]), np.uint16))
        recall_rows(packed, height, 0, count)
    seats = np.arange(players) if seat < 0 else np.array([seat])
    rows = np.zeros(count * len(seats), EXPERIENCE)
    rows["state_index"] = np.repeat(np.arange(count), len(seats))
    rows["player_id"] = np.tile(seats, count)
    views = ExperienceBatch(("",), rows, packed, (height, width), recipe).states()
    return views if seat >= 0 else views.reshape(count, players, *views.shape[1:])


def is_sb3(env: Any) -> bool:
    """Return whether ``env`` is a vector environment of Stable-Baselines3, without importing the library."""
    module = sys.modules.get("stable_baselines3.common.vec_env")
    return module is not None and isinstance(env, module.VecEnv)
