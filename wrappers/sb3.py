"""Adapts vector environments to the ``VecEnv`` of Stable-Baselines3, with action masks for sb3-contrib."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Wrapper, spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from generals_env.errors import ConfigError, StateError
from generals_env.pickling import CopiedWhole
from generals_env.single import GeneralsSingle, GeneralsSingleVector

try:
    from stable_baselines3.common.vec_env import VecEnv
except ModuleNotFoundError as error:
    raise ImportError(f'SB3VecEnv: expected stable_baselines3, got {error}: pip install "generals_env[sb3]"') from None

__all__ = ["SB3VecEnv"]

Observations = dict[str, npt.NDArray[Any]]
Indices = int | np.integer[Any] | Iterable[int] | None

#: Attributes of ``GeneralsSingle`` that are the same for all games.
SPACES = ("observation_space", "action_space")
SHARED = ("config", "player", "opponent", "render_mode", *SPACES)


class SB3VecEnv(CopiedWhole, VecEnv):
    """B games with one learning player each, stepped as one batch.

    Rollouts are bit-identical to those of ``DummyVecEnv`` with B ``GeneralsSingle``. Masked PPO finds the masks by itself; wrap
    with ``VecMonitor(SB3VecEnv(...))`` for statistics of episodes.

    Attributes:
        vector_env: The vector environment that was passed.
        games: The unwrapped vector environment, with configuration and boards.
        masks: Mask of legal actions, (B, 8*H*W + 1) bool; None before the first reset.
    """

    def __init__(self, vector_env: VectorEnv[Any, Any, Any]) -> None:
        """Take ownership of a vector environment; do not step it elsewhere.

        Args:
            vector_env: A ``GeneralsSingleVector`` as ``gymnasium.make_vec("generals_env/Generals-v0", ...)`` returns it, with
                or without wrappers that keep ``"action_mask"`` among the observations.

        Raises:
            ConfigError: If it is another environment, or has ``autoreset_mode`` or ``copy`` other than SB3 requires: ended
                games must be replaced in the same step, and arrays must not be overwritten.
        """
        games = vector_env.unwrapped if isinstance(vector_env, VectorEnv) else None
        if not isinstance(games, GeneralsSingleVector):
            raise ConfigError(
                f"vector_env: expected a GeneralsSingleVector, wrapped or not, got {vector_env!r:.200}: "
                "make it with gymnasium.make_vec"
            )
        space = vector_env.single_observation_space
        if not isinstance(space, spaces.Dict) or "action_mask" not in space.spaces:
            raise ConfigError(f'vector_env: expected "action_mask" among the observations, got {space!r:.200}')
        if games.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ConfigError(
                f"autoreset_mode: expected SAME_STEP, as SB3 does, got {games.autoreset_mode.name}: use the default"
            )
        if not games.copy:
            raise ConfigError("copy: expected True, as SB3 keeps observations, got False: use the default")
        self.vector_env = vector_env
        self.games = games
        self._singles = [SingleGame(self, index) for index in range(games.num_envs)]
        self._actions: Any = None
        self.masks: npt.NDArray[np.bool_] | None = None
        super().__init__(games.num_envs, space, vector_env.single_action_space)
        self.metadata = GeneralsSingle.metadata

    # --- Playing ------------------------------------------------------------------------------------------------------

    def reset(self) -> Observations:
        """Begin new games, with the seeds of the last call of ``seed`` if they are unused; options are ignored.

        Returns:
            ``"observation"`` (B, C, H, W) in the dtype of ``games`` and ``"action_mask"`` (B, 8*H*W + 1) int8.

        Raises:
            ConfigError: If a seed is not a non-negative integer, or no fair map was found.
            StateError: After ``close``.
        """
        seeds: Any = None if all(seed is None for seed in self._seeds) else self._seeds
        with self.games.guard("reset"):
            observations, infos = self.vector_env.reset(seed=seeds)
            self.reset_infos = by_game(infos, self.num_envs)
            self.masks = as_flags(observations["action_mask"])
            self._actions = None
            self._reset_seeds()
            self._reset_options()
        return dict(observations)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Store the actions, (B,) integers, for ``step_wait``."""
        self._actions = copy.deepcopy(actions)  # the caller may overwrite the array

    def step_wait(self) -> tuple[Observations, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """Play one turn of each game; ended games are replaced.

        Returns:
            Observations as in ``reset``, rewards (B,) float32, dones (B,) bool, and an info a game: ``"illegal_action"``,
            ``"illegal_actions"``, ``"TimeLimit.truncated"`` and, where the game ended, ``"terminal_observation"``.

        Raises:
            ActionError: If shape, dtype or range of the actions are wrong; no turn was played.
            StateError: Without actions, before the first reset, or after ``close``.
        """
        with self.games.guard("step_wait"):
            return self._step_wait()

    def _step_wait(self) -> tuple[Observations, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        if self._actions is None:
            raise StateError("step_wait: expected a call of step_async() before, got none: call step(actions)")
        actions, self._actions = self._actions, None
        observations, rewards, terminated, truncated, vector_infos = self.vector_env.step(actions)
        self.masks = as_flags(observations["action_mask"])
        infos = by_game(vector_infos, self.num_envs)
        dones = terminated | truncated
        if dones.any():
            last = by_game(vector_infos["final_info"], self.num_envs)
            for index in np.flatnonzero(dones):
                self.reset_infos[index] = infos[index]
                infos[index] = {**infos[index], **last[index], "terminal_observation": vector_infos["final_obs"][index]}
        for info, cut in zip(infos, (truncated & ~terminated).tolist(), strict=True):
            info["TimeLimit.truncated"] = cut
        return dict(observations), rewards.astype(np.float32, copy=False), dones, infos

    def close(self) -> None:
        """Close the vector environment; calling it twice is allowed."""
        self.vector_env.close()

    # --- Attributes and methods of single games -----------------------------------------------------------------------

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute of games, named as in ``GeneralsSingle``.

        Raises:
            AttributeError: If it does not exist, as SB3 expects.
            ConfigError: If an index is out of range.
        """
        return [getattr(single, attr_name) for single in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of games, for ``get_attr``; attributes that the games share cannot be set.

        Raises:
            ConfigError: If all games share the attribute, or an index is out of range.
        """
        if attr_name in SHARED or attr_name.startswith("_") or hasattr(SingleGame, attr_name):
            raise ConfigError(f"attribute: expected one that is not the environment's own, got {attr_name!r}: set another name")
        for single in self._chosen(indices):
            setattr(single, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of games: ``"action_masks"``, ``"state"`` or ``"render"``.

        Raises:
            AttributeError: If the method does not exist.
            ConfigError: If an index is out of range.
            StateError: Before the first reset, or after ``close``.
        """
        return [getattr(single, method_name)(*method_args, **method_kwargs) for single in self._chosen(indices)]

    def env_is_wrapped(self, wrapper_class: type[Wrapper[Any, Any, Any, Any]], indices: Indices = None) -> list[bool]:
        """Return False for every game, as wrappers of single games do not exist."""
        return [False for _ in self._chosen(indices)]

    def get_images(self) -> Sequence[npt.NDArray[np.uint8]]:
        """Return images of all games, (height, width, 3) uint8 each.

        Raises:
            ConfigError: If the render mode is not ``"rgb_array"``.
            StateError: Before the first reset, or after ``close``.
        """
        if self.render_mode != "rgb_array":
            raise ConfigError(f"render_mode: expected 'rgb_array', got {self.render_mode!r}: pass it to gymnasium.make_vec")
        return self.games.render()

    def _chosen(self, indices: Indices) -> list[SingleGame]:
        wanted = [indices] if isinstance(indices, (int, np.integer)) else self._get_indices(indices)
        chosen = list(wanted)
        for index in chosen:
            if not -self.num_envs <= index < self.num_envs:
                raise ConfigError(f"indices: expected integers below {self.num_envs}, got {index!r}")
        return [self._singles[index] for index in chosen]


class SingleGame:
    """View of one game of the batch, with attributes and methods of ``GeneralsSingle``."""

    metadata = GeneralsSingle.metadata

    def __init__(self, env: SB3VecEnv, index: int) -> None:
        self._env = env
        self._index = index

    def __getattr__(self, name: str) -> Any:
        if name in SHARED:
            return getattr(self._env if name in SPACES else self._env.games, name)
        raise AttributeError(f"SB3VecEnv: expected an attribute of GeneralsSingle or of set_attr, got {name!r}: set it first")

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return the mask of legal actions, (8*H*W + 1,) bool; a later step does not change it."""
        if self._env.masks is None:
            raise StateError("action_masks: expected a call of reset() before, got none: call reset() first")
        mask: npt.NDArray[np.bool_] = self._env.masks[self._index]
        return mask

    def state(self) -> npt.NDArray[np.int32]:
        """Return the full board as (3, H, W) int32: owner, army, terrain."""
        board: npt.NDArray[np.int32] = self._env.games.state()[self._index]
        return board

    def render(self) -> Any:
        """Return an image or a text of the board, depending on ``render_mode``; ``"human"`` shows the board."""
        return self._env.games.render(self._index)[0]


def as_flags(mask: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Return a mask of 0 and 1 as bool, without a copy if it has one byte an element."""
    return mask.view(np.bool_) if mask.itemsize == 1 else mask.astype(np.bool_)


def by_game(infos: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the infos of a vector environment as one dict a game, without the ``final_`` entries.

    Args:
        infos: Infos of Gymnasium: arrays (B, ...) or dicts of arrays; ``"_name"`` marks the games for which ``"name"`` is set.
        count: B, the number of games.
    """
    games: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, values in infos.items():
        if name.startswith(("_", "final_")):
            continue
        rows = by_game(values, count) if isinstance(values, dict) else values.tolist() if values.ndim == 1 else values
        holds = infos.get(f"_{name}")
        for index, row in enumerate(rows):
            if holds is None or holds[index]:
                games[index][name] = row
    return games
