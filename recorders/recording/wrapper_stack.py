"""What stands between an environment and whoever records it: wrappers, as a recipe or as names."""

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
from generals_env.engine.boards import Boards
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.packing import pack
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe, Shaping

__all__ = ["WrapperStack", "initial_observations", "inspect_wrappers", "is_sb3", "plain_recipe"]


@dataclass(frozen=True)
class WrapperStack:
    """How observations come about.

    Attributes:
        recipe: What the package's own wrappers make of boards.
        dense: Whether wrappers of others make something else of it, which is to be kept as it is.
        turned: Whether ``RandomSymmetry`` is among the wrappers: what is shown then differs from what boards tell.
        wrappers: Names of all wrappers, from the lowest to the highest.
    """

    recipe: Recipe
    dense: bool = False
    turned: bool = False
    wrappers: tuple[str, ...] = field(default=())


def layers(env: Any) -> Iterator[Any]:
    """Yield an environment, what it wraps, and so on down to the one that wraps nothing."""
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
    """Return how observations of ``env`` come about.

    The package's own ``FogMemory`` (directly over the environment), ``FrameStack`` (over that) and ``PotentialShaping``
    (anywhere) become a recipe. ``RandomSymmetry`` becomes nothing: what is recorded is the game itself, with the actions
    turned back, and observations are those of the board as it lies. Any other wrapper that changes observations makes them
    dense: its space differs from the one below, or its class is one of Gymnasium's for that.

    Args:
        env: An environment of this package, wrapped or not.
        config: Its configuration.
    """
    stack = list(layers(env))[::-1]
    seen = WrapperStack(Recipe(config.observation))
    for below, wrapper in pairwise(stack):
        if "vector_env" in vars(wrapper):  # SB3VecEnv wraps nothing that is its own kind
            continue
        change, name = own_change(wrapper)
        recipe, dense, turned = seen.recipe, seen.dense, seen.turned
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
        elif not isinstance(wrapper, (BaseWrapper, BaseParallelWrapper)):  # which are taken for passive
            changes = isinstance(wrapper, (gymnasium.ObservationWrapper, VectorObservationWrapper))
            dense = dense or changes or space_of(wrapper) != space_of(below)
        seen = WrapperStack(recipe, dense, turned, (*seen.wrappers, name))
    return seen


def own_change(wrapper: Any) -> tuple[Any, str]:
    """Return the ``ArrayTransform`` of one of the package's own wrappers, None for others, and the name of the wrapper."""
    change = vars(wrapper).get("change")
    if type(change).__module__.startswith("generals_env.wrappers."):
        return change, change.name
    return None, type(wrapper).__name__


def plain_recipe(recipe: Recipe) -> Recipe:
    """Return a recipe for boards beside which observations are kept as they were shown."""
    return Recipe(recipe.layout, shaping=recipe.shaping)


def initial_observations(boards: Boards, recipe: Recipe, seat: int) -> Any:
    """Return what a recipe makes of boards with which games begin, (B, P, C, H, W), or (B, C, H, W) for one ``seat``."""
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
    """Return whether ``env`` is a vector environment of Stable-Baselines3, without importing it."""
    module = sys.modules.get("stable_baselines3.common.vec_env")
    return module is not None and isinstance(env, module.VecEnv)
