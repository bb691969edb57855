"""Implements a replay buffer for Stable-Baselines3 over packed boards: a transition takes one board instead of four tensors.

The boards come from the environment, everything else from ``add``, as in SB3's own buffers.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces

from generals_env.arguments import is_number, positive
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.errors import ConfigError, StateError
from generals_env.pickling import pickled_as
from generals_env.recorders.buffers.replay_buffer import BufferStats
from generals_env.recorders.buffers.sb3_store import TurnBuffer
from generals_env.recorders.buffers.sb3_turns import Turns
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.recording.metadata import recording_metadata
from generals_env.recorders.recording.wrapper_stack import inspect_wrappers
from generals_env.single import GeneralsSingleVector

try:
    from stable_baselines3.common.buffers import DictReplayBuffer
    from stable_baselines3.common.buffers import ReplayBuffer as SB3ReplayBuffer
    from stable_baselines3.common.type_aliases import DictReplayBufferSamples
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_normalize
except ModuleNotFoundError as error:
    raise ImportError(f'BoardReplayBuffer: expected stable_baselines3, got {error}: pip install "generals_env[sb3]"') from None

__all__ = ["BoardReplayBuffer"]

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]
Seen = Mapping[str, Array]


@pickled_as("generals_env.recorders")
class BoardReplayBuffer(DictReplayBuffer):
    """A replay buffer for SB3 that stores transitions as boards: 0.9 kB each at 20x20, where tensors take 70.

    Pass it to any off-policy algorithm of SB3, and call ``set_env`` with the training environment::

        env = VecMonitor(SB3VecEnv(gymnasium.make_vec("generals_env/Generals-v0", num_envs=8)))
        model = DQN("MultiInputPolicy", env, replay_buffer_class=BoardReplayBuffer)
        model.replay_buffer.set_env(env)

    For the same state of numpy's global generator ``sample`` returns, bit for bit, what ``DictReplayBuffer`` would return, but:

    - For an illegal action the pass that was executed is stored (see ``executed``).
    - The environment shows an eliminated player zeros while others play on; here the observation is made of the board. Targets
      do not use it, as the transition is done.
    - With ``VecNormalize`` the last observations of games in SB3's own buffer were rounded twice.

    The environment may be wrapped in this package's ``FogMemory``, ``FrameStack`` and ``PotentialShaping``, and in
    ``VecNormalize``; observations of other wrappers cannot be made of boards. Unlike SB3's buffers for dicts it supports
    ``n_steps``.

    SB3's DQN does not mask: its targets take the maximum over all next actions. The samples contain the masks,
    ``next_observations["action_mask"]``.

    ``model.save_replay_buffer`` writes packed boards. After ``load_replay_buffer``, and after ``DQN.load``, call ``set_env``.
    """

    observation_space: spaces.Dict

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        env: VecEnv | None = None,
        store: str = "boards",
        max_bytes: int | None = None,
        n_steps: int = 1,
        gamma: float = 0.99,
        executed: bool = True,
    ) -> None:
        """Set the buffer up; the first seven arguments are SB3's.

        Args:
            buffer_size: Maximum number of transitions; divided by ``n_envs`` and rounded down, as by SB3.
            observation_space: With ``"observation"`` (C, H, W) and ``"action_mask"`` (A,).
            action_space: That of the environment.
            device: Device of the samples.
            n_envs: Number of games played at the same time.
            optimize_memory_usage: Must be False: boards are stored only once anyway.
            handle_timeout_termination: Whether truncated games do not count as done.
            env: As of ``set_env``, which can be called later. SB3 writes ``replay_buffer_kwargs`` into a saved model, so with
                ``{"env": env}`` there it takes ``model.save(path, exclude=["replay_buffer_kwargs"])``.
            store: As of ``ReplayBuffer``. ``"games"`` takes a tenth of the memory and samples more slowly; ``"zstd"`` is for
                ``fill``: turns of an environment would become chunks as small as the time between two calls of ``sample``.
            max_bytes: Maximum memory; the oldest transitions are dropped for new ones.
            n_steps: Number of turns that a sampled transition spans; samples then have ``discounts``.
            gamma: Discount factor of the rewards summed over them.
            executed: Whether to store the action that was executed, a pass for an illegal one, as all recorders of this
                package do. With False the requested action is stored, as in SB3's own buffer: only so can a policy without
                masks learn that illegal actions are worth no more than a pass.

        Raises:
            ConfigError: If an argument has an invalid value.
        """
        if not isinstance(observation_space, spaces.Dict) or sorted(observation_space) != ["action_mask", "observation"]:
            raise ConfigError(
                f"observation_space: expected a dict of observation and action_mask, got {observation_space!r:.200}"
            )
        if optimize_memory_usage:
            raise ConfigError("optimize_memory_usage: expected False, as boards are stored once anyway, got True: leave it out")
        if not is_number(gamma) or not 0 <= gamma <= 1:
            raise ConfigError(f"gamma: expected a number from 0 to 1, got {gamma!r:.80}")
        # The constructors of SB3's classes would allocate all tensors.
        super(SB3ReplayBuffer, self).__init__(
            positive("buffer_size", buffer_size), observation_space, action_space, device, positive("n_envs", n_envs)
        )
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.optimize_memory_usage = False
        self.handle_timeout_termination = handle_timeout_termination
        self.n_steps = positive("n_steps", n_steps)
        self.gamma = float(gamma)
        self.executed = executed
        self._boards = TurnBuffer(self.buffer_size * self.n_envs, store=store, max_bytes=max_bytes)
        self._turns: Turns | None = None
        if env is not None:
            self.set_env(env)

    def set_env(self, env: VecEnv) -> None:
        """Set the environment that the next transitions come from.

        Args:
            env: An ``SB3VecEnv``, wrapped or not: the one that the model steps, or one below it.

        Raises:
            ConfigError: If it is no ``SB3VecEnv``, or wrappers from outside this package change observations.
            StateError: If its games have begun and observations depend on earlier turns, as those of ``FogMemory`` do.
        """
        games = getattr(env.unwrapped, "games", None) if isinstance(env, VecEnv) else None
        if not isinstance(games, GeneralsSingleVector):
            raise ConfigError(f"env: expected an SB3VecEnv, wrapped or not, got {env!r:.200}")
        if games.num_envs != self.n_envs:
            raise ConfigError(f"env: expected {self.n_envs} games, got {games.num_envs}")
        if games.dtype != np.float32:
            raise ConfigError(
                f"dtype: expected games that observe float32, got {games.dtype}: leave the option dtype out, as this buffer "
                "stores boards, not observations"
            )
        normalize = unwrap_vec_normalize(env)  # SB3 passes the buffer unnormalised observations
        observed = inspect_wrappers(env if normalize is None else normalize.venv, games.config)
        if observed.dense or observed.turned:
            raise ConfigError(
                f"env: expected observations made of boards, got those of {', '.join(observed.wrappers)}: "
                "use SB3's DictReplayBuffer"
            )
        recipe = replace(observed.recipe, shaping=())  # rewards are stored as ``add`` gets them
        if games.started and (recipe.memory or recipe.frames > 1):
            raise StateError(
                "set_env: expected games that have not begun, as observations go back in time, got some that have: "
                "call set_env before reset"
            )
        self._require_fitting(recipe, games.config.shape)
        self._flush()
        turns = Turns(self._boards, games, recipe, recording_metadata(games.config, observed, None))
        if self._turns is not None:
            self._turns.finalizer()
        self._turns = turns
        turns.finalizer = weakref.finalize(self, turns.detach)

    @property
    def boards(self) -> TurnBuffer:
        """The transitions, as a ``ReplayBuffer`` of this package."""
        self._flush()
        return self._boards

    def _require_fitting(self, recipe: Recipe, shape: tuple[int, int]) -> None:
        wanted = self.observation_space["observation"].shape
        made = (recipe.frames * recipe.channels, *shape)
        if made != wanted:
            raise ConfigError(f"observation_space: expected observations of shape {made}, got {wanted}")
        actions, had = recipe.actions(shape), self.observation_space["action_mask"].shape
        if had != (actions,):
            raise ConfigError(f"observation_space: expected an action_mask of {actions} actions, as env has, got one of {had}")

    # --- Writing --------------------------------------------------------------------------------------------------

    def add(  # type: ignore[override]  # SB3's own signatures differ likewise
        self, obs: Seen, next_obs: Seen, action: Array, reward: Array, done: Array, infos: list[dict[str, Any]]
    ) -> None:
        """Add the last turn of the environment.

        Boards and ends of games come from there; of the arguments, ``reward`` is stored (and ``action``, unless ``executed``).

        Raises:
            ConfigError: If ``done`` or, in the first call, observations are not those of the environment.
            StateError: Without an environment, or if it made no step since the last call.
        """
        turns = self._turns
        if turns is None:
            raise StateError("add: expected a call of set_env(env) before, got none")
        asked = None if self.executed else np.asarray(action).reshape(self.n_envs)
        turns.take(np.asarray(reward, np.float32).reshape(self.n_envs), np.asarray(done).reshape(self.n_envs), asked)
        if not turns.checked:
            self._compare(turns, obs, next_obs)
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full = True
            self.pos = 0

    def _compare(self, turns: Turns, obs: Seen, next_obs: Seen) -> None:
        """Check in the first call that observations equal those made of the boards, but for ended games."""
        self._flush()
        held = len(self._boards)
        batch = self._boards.at(np.arange(held - self.n_envs, held))
        goes_on = ~(batch.terminated | batch.truncated)
        told = batch.tensors()
        pairs = ((told.states, obs, "observation"), (told.next_states, next_obs, "observation"))
        masks = ((told.action_masks, obs, "action_mask"), (told.next_action_masks, next_obs, "action_mask"))
        for derived, seen, name in pairs + masks:
            if not np.array_equal(derived[goes_on], np.asarray(seen[name])[goes_on]):
                raise ConfigError(
                    f'obs: expected "{name}" as made of the boards of env, got another one: '
                    "call set_env with the environment that the model steps"
                )
        turns.checked = True

    def fill(self, batches: Iterable[ExperienceBatch], player: int | None = None) -> int:
        """Write recorded experience, for learning from files.

        Rewards are those of the recording, with its shaping. Boards smaller than the space are padded with mountains.

        Args:
            batches: The experience, for example ``open_dataset("runs/a")``.
            player: The only player whose experiences to write; None for all.

        Returns:
            Number of experiences written; if they exceed ``buffer_size``, the oldest are dropped.

        Raises:
            ConfigError: If their observations are not, or cannot be made, those of ``observation_space``, or their games have
                another number of players than those held.
            StorageError: If a file cannot be read or is damaged; the batches before it were written.
        """
        self._flush()
        taken = 0
        for batch in batches:
            if not isinstance(batch, ExperienceBatch):
                raise ConfigError(f"batches: expected ExperienceBatches, got {type(batch).__name__}")
            kept = np.ones(len(batch), np.bool_) if player is None else batch.player_id == player
            self._boards.write_kept(self._as_shown(batch), kept)
            taken += int(kept.sum())
        held = len(self._boards)
        self.full = held >= self.buffer_size * self.n_envs
        self.pos = 0 if self.full else -(-held // self.n_envs)
        return taken

    def _as_shown(self, batch: ExperienceBatch) -> ExperienceBatch:
        """Return a batch with observations as of ``observation_space``, and with the shaping in its rewards."""
        channels, *size = self.observation_space["observation"].shape or ()
        fits = [recipe for recipe in possible_recipes(batch) if recipe.frames * recipe.channels == channels]
        if batch.dense is not None or not fits or any(has > room for has, room in zip(batch.shape, size, strict=True)):
            raise ConfigError(
                f"batches: expected observations of shape {(channels, *size)}, got {batch.state_shape} by {batch.recipe}"
            )
        if (batch.recipe.actions((size[0], size[1])),) != self.observation_space["action_mask"].shape:
            raise ConfigError(
                f"batches: expected masks of {self.observation_space['action_mask'].shape}, got games of another action space "
                f"(builds={batch.recipe.builds}): keep games by the rules of the competition apart"
            )
        rows = batch.rows.copy()
        rows["reward"] = batch.rewards()
        return replace(batch, rows=rows, recipe=fits[0]).padded(*size)

    def _flush(self) -> None:
        """Write all added turns to ``_boards``."""
        if self._turns is not None:
            self._turns.settle()

    def reset(self) -> None:
        """Remove all transitions."""
        self._flush()
        self._boards.clear()
        super().reset()

    # --- Sampling -------------------------------------------------------------------------------------------------

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Sample transitions uniformly with numpy's global generator, as SB3 does.

        Args:
            batch_size: Number of transitions.
            env: The normalisation, as SB3 passes it.

        Returns:
            ``observations`` and ``next_observations``, dicts of ``"observation"`` (n, C, H, W) float32 and ``"action_mask"``
            (n, A) int8; ``actions`` (n, 1) int64, ``rewards`` and ``dones`` (n, 1) float32; with ``n_steps``,
            ``discounts`` (n, 1) float32. All on ``device``.

        Raises:
            ConfigError: If rewards are to be normalised and summed over several steps.
            StateError: If there are none.
        """
        self._flush()
        held = len(self._boards)
        if held == 0 or held % self.n_envs == 0:
            return self._get_samples(np.random.randint(0, max(held // self.n_envs, 1), size=batch_size), env)  # noqa: NPY002
        return self._at_positions(np.random.randint(0, held, size=batch_size), env)  # noqa: NPY002 - SB3 seeds this generator

    def _get_samples(self, batch_inds: Array, env: VecNormalize | None = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Return transitions of turns ``batch_inds`` (n,), indices of SB3's arrays, each of a random game."""
        self._flush()
        games = np.random.randint(0, self.n_envs, size=len(batch_inds))  # noqa: NPY002 - SB3 seeds this generator
        ages = (batch_inds - self.pos) % (len(self._boards) // self.n_envs or 1) if self.full else batch_inds
        return self._at_positions(ages * self.n_envs + games, env)

    def _at_positions(self, positions: Index, env: VecNormalize | None) -> DictReplayBufferSamples:
        """Return transitions by their positions; the oldest has position 0."""
        if env is not None and self.n_steps > 1 and env.norm_reward:
            raise ConfigError(
                f"n_steps: expected 1 where VecNormalize has norm_reward, got {self.n_steps}: set norm_reward=False"
            )
        tensors = self._boards.at(positions, self.n_steps, self.gamma).to_torch("cpu" if env is not None else self.device)
        done = tensors.terminated if self.handle_timeout_termination else tensors.terminated | tensors.truncated
        rewards = tensors.rewards.reshape(-1, 1)
        if env is not None:
            rewards = self.to_torch(self._normalize_reward(rewards.numpy(), env), copy=False)
        discounts = (self.gamma ** tensors.steps.to(torch.float32)).reshape(-1, 1) if self.n_steps > 1 else None
        return DictReplayBufferSamples(
            observations=self._normalized(tensors.action_masks, tensors.states, env),
            actions=tensors.actions.reshape(-1, 1).to(self.device),
            next_observations=self._normalized(tensors.next_action_masks, tensors.next_states, env),
            dones=done.to(torch.float32).reshape(-1, 1).to(self.device),
            rewards=rewards,
            discounts=discounts if discounts is None else discounts.to(self.device),
        )

    def _normalized(self, masks: torch.Tensor, states: torch.Tensor, env: VecNormalize | None) -> dict[str, torch.Tensor]:
        seen = {"action_mask": masks, "observation": states}
        if env is None:
            return seen
        arrays: Any = self._normalize_obs({name: tensor.numpy() for name, tensor in seen.items()}, env)
        return {name: self.to_torch(array, copy=False) for name, array in arrays.items()}

    # --- State ----------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Return the number of turns of all games in the buffer, as SB3 counts."""
        self._flush()
        return -(-len(self._boards) // self.n_envs)

    def stats(self) -> BufferStats:
        """Return what the buffer holds and what became of the other experiences."""
        self._flush()
        return self._boards.stats()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle everything but the environment."""
        self._flush()
        return {**self.__dict__, "_turns": None}


def possible_recipes(batch: ExperienceBatch) -> list[Recipe]:
    """Return the recipes by which a batch's observations can be made: its own, and with the other layouts."""
    return [replace(batch.recipe, layout=layout, shaping=()) for layout in (batch.recipe.layout, *LAYOUTS)]
