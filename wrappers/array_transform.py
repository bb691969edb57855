"""Wraps vector environments and single environments with the same ``ArrayTransform`` of batched arrays.

A wrapper defines its transform once, as a subclass of ``ArrayTransform``; ``wrapped`` applies it to an environment of many or
of one game. The wrapper classes here track the episodes: which games begin, continue, and have a final observation in infos.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space

from generals_env.env_spec import json_value
from generals_env.errors import ConfigError
from generals_env.pickling import CopiedWhole
from generals_env.single import GeneralsSingle
from generals_env.vector_base import VectorBase

__all__ = ["ArrayTransform", "Env", "SingleTransformWrapper", "VectorTransformWrapper", "wrapped"]

#: A wrapper returns an environment of the same kind as it is given.
Env = TypeVar("Env", gymnasium.Env[Any, Any], VectorEnv[Any, Any, Any])

Array = npt.NDArray[Any]
Flags = npt.NDArray[np.bool_]
Observations = dict[str, Array]


class ArrayTransform:
    """Base class of transforms of observations, actions and rewards; the base class changes nothing.

    Every array has a first axis of B games, B = 1 for an environment of one game; if the environment returns all players, a
    second axis of P players follows: ``(B, C, H, W)`` or ``(B, P, C, H, W)`` and so on.

    Attributes:
        name: Public name of the wrapper.
        games: The unwrapped vector environment, with its configuration and boards.
        below: Space of the observations of one game before the transform.
        any_dtype: Whether observations may have another dtype than float32.
    """

    name = "ArrayTransform"
    any_dtype = False

    def __init__(self, env: Any) -> None:
        """Find the unwrapped environment and its observation space.

        Raises:
            ConfigError: If ``env`` is not an environment of this package, or a wrapper below changed the keys of observations.
        """
        bottom: Any = env.unwrapped if isinstance(env, (gymnasium.Env, VectorEnv)) else None
        games: Any = bottom.games if isinstance(bottom, GeneralsSingle) else bottom
        if not isinstance(games, VectorBase):
            raise ConfigError(
                f"env: expected a GeneralsVector, GeneralsSingleVector or GeneralsSingle, wrapped or not, "
                f"got {env!r:.200}: make it with generals_env.make_vec, gymnasium.make or gymnasium.make_vec"
            )
        space: Any = env.single_observation_space if isinstance(env, VectorEnv) else env.observation_space
        if not isinstance(space, spaces.Dict) or set(space) != {"action_mask", "observation"}:
            raise ConfigError(
                f"env: expected observations that are dicts of observation and action_mask, got {space!r:.200}: "
                "apply wrappers that change the dict outside of this one"
            )
        kind = space["observation"].dtype
        if kind != np.float32 and not self.any_dtype:
            raise ConfigError(
                f"dtype: expected float32 below {self.name}, got {kind}: leave the option dtype of the environment out"
            )
        self.games: VectorBase = games
        self.below: spaces.Dict = space

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensors before the transform: (B, C, H, W) or (B, P, C, H, W)."""
        return self.games.num_envs, *(self.below["observation"].shape or ())

    def space(self) -> spaces.Dict:
        """Return the space of the observations of one game after the transform."""
        return self.below

    def begin(self, which: Flags, seed: Any = None) -> None:
        """Receive the beginning of games.

        Args:
            which: (B,) bool, games that begin.
            seed: Seed that ``reset`` was called with; None after autoreset.
        """

    def observe(self, seen: Observations, begun: Flags, stepped: bool) -> Observations:
        """Return the transformed observations.

        Args:
            seen: Observations of all games.
            begun: (B,) bool, games for which these are the first observations.
            stepped: Whether a turn of the other games was played; a reset of some games does not change the others.
        """
        return seen

    def last(self, rows: npt.NDArray[np.intp], seen: Observations) -> Observations:
        """Return the transformed final observations of the games ``rows``, (n,); called before ``begin``."""
        return seen

    def actions(self, actions: Any) -> Any:
        """Return the actions for the environment below."""
        return actions

    def rewards(self, rewards: Array, terminated: Array, going: Flags, ended: Flags) -> Array:
        """Return the transformed rewards; called after each turn, before ``begin``.

        Args:
            rewards: (B,) or (B, P) float32; read-only.
            terminated: bool, of the same shape; read-only.
            going: bool, of the same shape: players whose game had not ended before the turn.
            ended: (B,) bool, games that ended with the turn and were replaced; ``games.final_boards`` holds their final boards.
        """
        return rewards


class VectorTransformWrapper(CopiedWhole, VectorWrapper):
    """Applies an ``ArrayTransform`` to a vector environment."""

    def __init__(self, env: VectorEnv[Any, Any, Any], change: ArrayTransform) -> None:
        """Apply ``change`` to ``env``."""
        super().__init__(env)
        self.change = change
        self.single_observation_space = change.space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._going = np.ones(change.shape[:-3], np.bool_)
        self._masks: Array = np.zeros(0, np.int8)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observations, dict[str, Any]]:
        """Begin new games, as the environment below does."""
        begun = np.ones(self.num_envs, np.bool_)
        if options is not None and "reset_mask" in options:
            begun = options["reset_mask"]  # read before the call: some wrappers remove it
        with self.change.games.guard("reset"):
            seen, infos = self.env.reset(seed=seed, options=options)
            self._going[begun] = True
            self.change.begin(begun, seed)
            return self._show(seen, begun, stepped=False), infos

    def step(self, actions: Any) -> tuple[Observations, Array, Array, Array, dict[str, Any]]:
        """Play one turn, as the environment below does."""
        with self.change.games.guard("step"):
            return self._step(actions)

    def _step(self, actions: Any) -> tuple[Observations, Array, Array, Array, dict[str, Any]]:
        seen, rewards, terminated, truncated, infos = self.env.step(self.change.actions(actions))
        going = self._going.copy()
        pending = none_set(going)
        self._going &= ~(terminated | truncated)
        ended = none_set(self._going) & ~pending
        at_once = self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
        begun = ended if at_once else pending
        rewards = self.change.rewards(rewards, terminated, going, begun & at_once)
        if at_once and ended.any():
            infos = infos | {"final_obs": self._final(infos["final_obs"], np.flatnonzero(ended))}
        self._going[begun] = True
        self.change.begin(begun)
        return self._show(seen, begun, stepped=True), rewards, terminated, truncated, infos

    def _show(self, seen: Observations, begun: Flags, stepped: bool) -> Observations:
        shown = self.change.observe(seen, begun, stepped)
        self._masks = shown["action_mask"]
        return shown

    def _final(self, seen: Array, rows: npt.NDArray[np.intp]) -> Array:
        stacked = {name: np.stack([seen[b][name] for b in rows]) for name in seen[rows[0]]}
        shown = self.change.last(rows, stacked)
        final = np.full(self.num_envs, None, dtype=object)
        for i, b in enumerate(rows):
            final[b] = {name: array[i].copy() for name, array in shown.items()}
        return final

    def action_masks(self) -> Flags:
        """Return the mask of legal actions after the transform, (B, ..., 8*H*W + 1) bool."""
        return self._masks.astype(np.bool_)

    def __repr__(self) -> str:
        return f"<{self.change.name}, {self.env}>"


class SingleTransformWrapper(CopiedWhole, gymnasium.Wrapper[Any, Any, Any, Any]):
    """Applies an ``ArrayTransform`` to an environment of one game."""

    def __init__(self, env: gymnasium.Env[Any, Any], change: ArrayTransform, options: dict[str, Any]) -> None:
        """Apply ``change`` to ``env``; ``options`` are the arguments of the public function, for ``spec``."""
        super().__init__(env)
        self.change = change
        self.options = options
        self.observation_space = change.space()
        self._mask: Array = np.zeros(0, np.int8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observations, dict[str, Any]]:
        """Begin a new game, as the environment below does."""
        with self.change.games.guard("reset"):
            seen, info = self.env.reset(seed=seed, options=options)
            self.change.begin(np.ones(1, np.bool_), seed)
            return self._show(seen, begun=True), info

    def step(self, action: Any) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Play one turn, as the environment below does."""
        with self.change.games.guard("step"):
            below = self.change.actions([action])[0]
            seen, reward, terminated, truncated, info = self.env.step(below)
            rewards = self.change.rewards(
                np.array([reward], np.float32), np.array([terminated]), np.ones(1, np.bool_), np.zeros(1, np.bool_)
            )
            return self._show(seen, begun=False), float(rewards[0]), terminated, truncated, info

    def _show(self, seen: Observations, begun: bool) -> Observations:
        shown = self.change.observe({name: array[None] for name, array in seen.items()}, np.array([begun]), stepped=not begun)
        self._mask = shown["action_mask"][0]
        return {name: array[0] for name, array in shown.items()}

    def action_masks(self) -> Flags:
        """Return the mask of legal actions after the transform, (8*H*W + 1,) bool."""
        return self._mask.astype(np.bool_)

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # as in Gymnasium's own wrapper
        """Specification from which ``gymnasium.make`` recreates this; None if it did not make the environment."""
        spec = copy.deepcopy(self.env.spec)
        if spec is not None:
            entry = f"{type(self.change).__module__}:{self.change.name}"
            spec.additional_wrappers += (WrapperSpec(self.change.name, entry, self.options),)
        return spec

    def __str__(self) -> str:
        return f"<{self.change.name}{self.env}>"


def none_set(flags: Flags) -> Flags:
    """Return (B,) bool: whether all flags of a game are False."""
    none: Flags = np.logical_not(flags.reshape(len(flags), -1).any(axis=1))
    return none


def wrapped(env: Env, change: ArrayTransform, **options: Any) -> Env:
    """Apply ``change`` to ``env`` with the wrapper class for its kind; ``options`` are the arguments of ``change``."""
    wrapper: Any
    if isinstance(env, VectorEnv):
        wrapper = VectorTransformWrapper(env, change)
    else:
        wrapper = SingleTransformWrapper(env, change, json_value(options))
    made: Env = wrapper
    return made
