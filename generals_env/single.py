"""Implements Gymnasium environments for one learning player against opponents: of one game, and of many games at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Self

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from generals_env.actions import check_action, check_actions
from generals_env.agents.sampled_player import SampledPlayer
from generals_env.arguments import check_integer, check_options
from generals_env.branching.vector_branches import copied
from generals_env.config import OPTIONS, RENDER_FPS, RENDER_MODES, GameConfig
from generals_env.engine.policies.codes import GIVEN
from generals_env.env_spec import JsonSpec
from generals_env.errors import ActionError, StateError
from generals_env.opponents import as_policy, policy_code
from generals_env.pickling import CopiedWhole
from generals_env.seeding import seed_state
from generals_env.spaces import action_space, observation_space
from generals_env.vector_base import Array, Observations, VectorBase

__all__ = ["GeneralsSingle", "GeneralsSingleVector"]


class GeneralsSingleVector(VectorBase, gymnasium.vector.VectorEnv[Any, Any, Any]):
    """B games with one learning player each; ``opponent`` plays the others. See ``VectorBase`` for the methods.

    An episode ends when the game ends for the learning player.
    """

    def __init__(
        self,
        num_envs: int = 1,
        opponent: Any = "expander",
        player: int = 0,
        copy: bool = True,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        threads: int | None = None,
        max_episode_steps: int | None = None,
        dtype: npt.DTypeLike = np.float32,
        **options: Any,
    ) -> None:
        """Create the games.

        Args:
            num_envs: Number of games.
            opponent: Policy of the other players: a built-in name, a callable on batches, a torch module or an SB3 model
                (see ``generals_env.opponents.as_policy``).
            player: Index of the learning player.
            copy: Whether ``step`` returns copies instead of views that the next step overwrites.
            autoreset_mode: When ended games are replaced; see ``generals_env.make_vec``.
            threads: Number of threads that share the games; the default is one a core. Results do not depend on it.
            max_episode_steps: Turns after which a game is truncated, if ``max_turns`` is not smaller. Gymnasium passes it.
            dtype: Dtype of the observations, ``"float32"``, ``"float16"`` or ``"uint8"``; see ``generals_env.make_vec``.
            **options: Fields of ``GameConfig``.

        Raises:
            ConfigError: If the value of an argument is invalid.
            OptionError: If an option is unknown.
            MapError: If ``map`` does not describe a board.
        """
        check_options(GeneralsSingleVector, options, OPTIONS)
        config = GameConfig.from_options(**options).limited(max_episode_steps)
        self.opponent = as_policy(opponent)
        self.player = check_integer("player", player, 0, config.players - 1)
        self.others = [seat for seat in range(config.players) if seat != self.player]
        super().__init__(num_envs, config, copy, autoreset_mode, threads, dtype)
        self.single_observation_space = observation_space(config, self.dtype)
        self.single_action_space = action_space(config)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        code = policy_code(self.opponent) if isinstance(self.opponent, str) else GIVEN
        self._codes = np.full(config.players, code, np.int64)
        self._codes[self.player] = GIVEN

    def _resized(self, count: int) -> Self:
        options = {field.name: getattr(self.config, field.name) for field in dataclasses.fields(self.config)}
        return type(self)(
            count,
            copied(self.opponent),
            self.player,
            self.copy,
            AutoresetMode.DISABLED,
            self.batch.threads,
            dtype=self.dtype,
            **options,
        )

    def _checked_reuse(self, reuse: Any, count: int) -> Any:
        reuse = super()._checked_reuse(reuse, count)
        reuse.opponent = copied(self.opponent)
        return reuse

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin new games as ``VectorBase.reset``; a seed also begins the draws of an opponent such as ``"trained"`` anew."""
        observations, infos = super().reset(seed=seed, options=options)
        seeds = [number for number in np.atleast_1d(np.array(seed, object)).tolist() if number is not None]
        if seeds and isinstance(self.opponent, SampledPlayer):
            self.opponent.reseed(seeds)
        return observations, infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return the mask of legal actions, (B, 8*H*W + 1) bool, under the name that sb3-contrib uses."""
        self._require_started("action_masks")
        return self._view(self.batch.views.masks).astype(np.bool_)

    def _view(self, array: Array) -> Array:
        return array[:, self.player]

    def _take(self, actions: Any) -> None:
        own = check_actions(actions, (self.num_envs,), self.config.actions)
        batch = self.batch
        if isinstance(self.opponent, str):
            batch.act(self._codes)
        else:
            count = self.num_envs * len(self.others)
            views: Observations = {
                "observation": self._tensors[:, self.others].reshape(count, *self._tensors.shape[2:]),
                "action_mask": batch.views.masks[:, self.others].reshape(count, -1),
            }
            try:
                chosen = check_actions(self.opponent(views), (count,), self.config.actions)
            except ActionError as error:
                raise ActionError(f"opponent: its {error}: return one legal index for each observation") from None
            self._pause()  # an opponent may take long, and no turn was played yet
            batch.outcome.actions[:, self.others] = chosen.reshape(self.num_envs, -1)
        batch.outcome.actions[:, self.player] = own

    def _ended(self) -> npt.NDArray[np.bool_]:
        return np.logical_not(self.batch.outcome.active[:, self.player])


class GeneralsSingle(CopiedWhole, JsonSpec, gymnasium.Env[Any, Any]):
    """One game with one learning player; ``opponent`` plays the others.

    Observations are dicts of ``"observation"`` (C, H, W) in ``dtype``, C = 9 or 21, and ``"action_mask"`` int8 (8*H*W + 1,).
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}  # noqa: RUF012 - name and type are Gymnasium's

    def __init__(self, opponent: Any = "expander", player: int = 0, dtype: npt.DTypeLike = np.float32, **options: Any) -> None:
        """Create the game; arguments and errors as in ``GeneralsSingleVector``."""
        check_options(GeneralsSingle, options, OPTIONS)  # without the options of a vector environment
        self.games = GeneralsSingleVector(
            1, opponent, player, copy=True, autoreset_mode=AutoresetMode.DISABLED, threads=1, dtype=dtype, **options
        )
        self.config = self.games.config
        self.render_mode = self.config.render_mode
        self.observation_space = self.games.single_observation_space
        self.action_space = self.games.single_action_space
        self._over = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observations, dict[str, Any]]:
        """Begin a new game; without a seed, with the next map of the same random stream.

        Args:
            seed: The seed.
            options: ``{"start": boards}`` begins with this board.

        Raises:
            ConfigError: If the seed is not a non-negative integer, the board is invalid, or no fair map was found.
        """
        seed_state(seed)  # validates it: the vector environment would accept a list
        start = {"start": options["start"]} if isinstance(options, dict) and "start" in options else None
        with self.games.guard("reset"):
            observations, infos = self.games.reset(seed=seed, options=start)
            super().reset(seed=None if seed is None else int(seed))  # seeds ``np_random``, which the game does not use
            self._over = False
        return first(observations), first(infos)

    def step(self, action: Any) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Play one turn.

        Raises:
            ActionError: If the action is not an integer or is out of range; no turn was played.
            StateError: Before the first reset, after the end of the game, or after ``close``.
        """
        with self.games.guard("step"):
            if self._over:
                raise StateError("step: expected a running game, got an action after its end: call reset() first")
            index = check_action(action, self.config.actions)
            observations, rewards, terminated, truncated, infos = self.games.step(np.array([index]))
            self._over = bool(terminated[0] or truncated[0])
        return first(observations), float(rewards[0]), bool(terminated[0]), bool(truncated[0]), first(infos)

    def branch(
        self, k: int, seed: int | None = None, common: bool = True, reuse: GeneralsSingleVector | None = None
    ) -> GeneralsSingleVector:
        """Return k copies of the game that continue where it is; see ``GeneralsSingleVector.branch``."""
        return self.games.branch(k, seed=seed, common=common, reuse=reuse)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return the mask of legal actions, (8*H*W + 1,) bool, under the name that sb3-contrib uses."""
        mask: npt.NDArray[np.bool_] = self.games.action_masks()[0]
        return mask

    def state(self) -> npt.NDArray[np.int32]:
        """Return the full board as (3, H, W) int32: owner, army, terrain."""
        state: npt.NDArray[np.int32] = self.games.state()[0]
        return state

    def render(self) -> Any:
        """Return an image or a text of the board, depending on ``render_mode``; ``"human"`` shows the board.

        Raises:
            StateError: Before the first reset, or without a render mode.
        """
        return self.games.render()[0]

    def _repr_html_(self) -> str | None:
        """Return the board as a picture, for notebooks; before the first reset None, so that they show the text."""
        return self.games._repr_html_()

    def close(self) -> None:
        """Release the threads of the game, and close the window."""
        self.games.close()


def first(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return the first element of each array, 1-d arrays as Python scalars, without Gymnasium's ``_name`` flags."""
    return {name: array[0] if array.ndim > 1 else array[0].item() for name, array in arrays.items() if not name.startswith("_")}
