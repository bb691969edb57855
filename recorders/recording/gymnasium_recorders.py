"""Records Gymnasium environments of many games at once, or of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorWrapper

from generals_env.concurrency.guard import Guard
from generals_env.engine.packed.recording import ALL_PLAYERS
from generals_env.errors import ConfigError
from generals_env.observations.dtypes import as_dtype
from generals_env.recorders.experience.sink import AnySink
from generals_env.recorders.recording.base import ExperienceRecorder, foreign_environment
from generals_env.recorders.recording.dense_capture import DenseObservationCapture, tensor_of
from generals_env.recorders.recording.kernel_player import KernelPlayer
from generals_env.recorders.recording.metadata import recording_metadata, seed_of
from generals_env.recorders.recording.turn_batcher import TurnBatcher
from generals_env.recorders.recording.turn_forwarder import TurnWriter
from generals_env.recorders.recording.wrapper_stack import WrapperStack, initial_observations, inspect_wrappers, plain_recipe
from generals_env.recorders.sinks.multi import open_sink
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.vector import GeneralsVector, PlayCounts
from generals_env.vector_base import VectorBase

__all__ = [
    "GamesRecorder",
    "SingleRecorder",
    "VectorRecorder",
]


class GamesRecorder(ExperienceRecorder):
    """Base of the recorders of environments that play a ``VectorBase``: vector, single-agent and Stable-Baselines3's."""

    def _games(self) -> VectorBase:
        """Return the innermost environment, which plays the games."""
        raise NotImplementedError

    def _config(self) -> Any:
        return self._games().config

    def _find_guard(self) -> Guard:
        return self._games().guard

    def _make_batcher(self, sink: AnySink, run_id: str | None, opponents: bool, policies: Any) -> TurnBatcher:
        games = self._games()
        config = games.config
        single = isinstance(games, GeneralsSingleVector)
        if opponents and not single:
            raise ConfigError(
                "opponents: expected an environment with one learning player, got one of all players, which are all "
                "recorded: leave opponents out"
            )
        if policies is None and isinstance(games, GeneralsSingleVector):
            name = games.opponent if isinstance(games.opponent, str) else type(games.opponent).__name__
            policies = [None if seat == games.player else name for seat in range(config.players)]
        self._stack = inspect_wrappers(self.env, config)
        self._opponents = opponents
        # Whether observations need not be compared with those that the recipe derives.
        self._checked = self._stack.dense or self._stack.turned
        seat = games.player if isinstance(games, GeneralsSingleVector) and not opponents else ALL_PLAYERS
        self._require_seat(self._stack)
        recipe = plain_recipe(self._stack.recipe) if self._stack.dense else self._stack.recipe
        metadata = recording_metadata(config, self._stack, policies)
        batcher = TurnBatcher(open_sink(sink), games.num_envs, run_id, seat, recipe, metadata)
        if self._stack.dense:
            batcher.dense_capture = DenseObservationCapture(self._observing_players())
        return batcher

    def _observing_players(self) -> int:
        """Return of how many players the environment returns observations."""
        games = self._games()
        return 1 if isinstance(games, GeneralsSingleVector) else games.config.players

    def _require_seat(self, stack: WrapperStack) -> None:
        """Raise ``ConfigError`` if dense observations of players are to be recorded who do not get any."""
        if stack.dense and self._opponents:
            raise ConfigError(
                "opponents: expected False where wrappers change observations "
                f"({', '.join(stack.wrappers)}): only the learning player gets observations, got True: leave opponents out"
            )

    def _attach(self, batcher: TurnBatcher) -> None:
        games = self._games()
        self._writer = TurnWriter(batcher)
        games.listeners.append(self._writer)
        if games.started and batcher.dense_capture is None:  # in the middle of games
            batcher.begin(games.batch.boards, games.going)

    def _detach(self) -> None:
        self._games().listeners.remove(self._writer)

    def _begun(self, observations: Any, seed: Any) -> None:
        """Record a reset that returned ``observations``, (B, ...)."""
        batcher = self.turn_batcher
        if batcher is None or batcher.closed:
            return
        self._note(seed=seed_of(seed))
        if not self._checked:
            self._checked = True
            self._compare(batcher, observations)
        if batcher.dense_capture is not None:
            batcher.dense_capture.observe(observations)

    def _compare(self, batcher: TurnBatcher, observations: Any) -> None:
        """Record dense observations from now on if ``observations`` differ from those that the recipe makes of the boards."""
        games = self._games()
        learner = games.player if isinstance(games, GeneralsSingleVector) else ALL_PLAYERS
        returned = tensor_of(observations)
        derived = initial_observations(games.batch.boards, batcher.recipe, learner)
        derived = as_dtype(derived, games.dtype)
        if derived.dtype == returned.dtype and np.array_equal(derived, returned):
            return
        stack = WrapperStack(self._stack.recipe, True, self._stack.turned, self._stack.wrappers)
        self._require_seat(stack)
        all_games = np.ones(games.num_envs, np.bool_)
        batcher.leave(all_games)
        batcher.finish(goes_on=False)
        self._note(observations="dense")
        batcher.recipe = plain_recipe(batcher.recipe)
        batcher.dense_capture = DenseObservationCapture(self._observing_players())
        batcher.begin(games.batch.boards, all_games)

    def _stepped(self, observations: Any, final: dict[int, Any] | None = None) -> None:
        """Record the observations that a step returned, and the last ones of games that ended in it and began anew."""
        batcher = self.turn_batcher
        if batcher is not None and batcher.dense_capture is not None and not batcher.closed:
            batcher.dense_capture.observe(observations, final)


class AttributePassing(GamesRecorder):
    """Passes on attributes that Gymnasium's wrappers do not: ``act``, ``boards``, ``action_masks`` and others."""

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the environment."""
        if name.startswith("_") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)


class VectorRecorder(AttributePassing, VectorWrapper):
    """Records a ``GeneralsVector`` or ``GeneralsSingleVector``, wrapped or not."""

    @classmethod
    def _check(cls, env: Any) -> None:
        if not isinstance(env.unwrapped, VectorBase):
            raise foreign_environment(env)

    def _games(self) -> VectorBase:
        games: VectorBase = self.env.unwrapped
        return games

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new games, as the environment does. Games that had not ended have no terminal experience."""
        with self._guard("reset"):
            observations, infos = self.env.reset(seed=seed, options=options)
            self._begun(observations, seed)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Play one turn, as the environment does."""
        with self._guard("step"):
            self._require_room()
            result: tuple[Any, Any, Any, Any, dict[str, Any]] = self.env.step(actions)
            if self.turn_batcher is not None and self.turn_batcher.dense_capture is not None:
                infos = result[4]
                ended = infos.get("_final_obs")
                final = None if ended is None else {int(b): infos["final_obs"][b] for b in np.flatnonzero(ended)}
                self._stepped(result[0], final)
        return result

    def play(self, turns: int, policies: Sequence[str]) -> PlayCounts:
        """Play built-in policies against each other as ``GeneralsVector.play`` does; the kernel that plays records the turns.

        Wrappers in between are not called. Batches have the observations that the package's own wrappers would have returned.
        After Ctrl-C every turn that was played is recorded, once, and recording can go on.

        Args:
            turns: How many turns of every game.
            policies: One built-in name a player, see ``generals_env.opponents.policy_code``.

        Returns:
            What was played: the same as without recording.

        Raises:
            ConfigError: As ``GeneralsVector.play``, or if wrappers that are not of this package change observations.
            StateError: Before the first reset, or after ``close``.
            StorageError: If turns cannot be written.
        """
        games, batcher = self._games(), self.turn_batcher
        if not isinstance(games, GeneralsVector):
            raise ConfigError(
                f"play: expected a GeneralsVector, got a {type(games).__name__}: make one with generals_env.make_vec"
            )
        if batcher is None or batcher.closed:
            return games.play(turns, policies)
        if batcher.dense_capture is not None:
            raise ConfigError(
                f"play: expected wrappers that leave observations as they are, got {self._stack.wrappers}: use step(act(...))"
            )
        with self._guard("play"):
            before = batcher.metadata["policies"]
            games.check_play(turns, policies)
            self._require_room()
            self._note(policies=list(policies))
            try:
                counts = games.play_by(KernelPlayer(batcher, games.batch), turns, policies)
            finally:  # games go on also when the sink raised
                batcher.finish()
                self._note(policies=before)
                if games.started:
                    batcher.resume(games.batch.boards, ~batcher.present() & games.going)
            batcher.write()
        return counts


class SingleRecorder(AttributePassing, gymnasium.Wrapper[Any, Any, Any, Any]):  # type: ignore[misc]  # two kinds of __exit__
    """Records a ``GeneralsSingle``, wrapped or not."""

    @classmethod
    def _check(cls, env: Any) -> None:
        if not isinstance(env.unwrapped, GeneralsSingle):
            raise foreign_environment(env)

    def _games(self) -> VectorBase:
        games: VectorBase = self.env.unwrapped.games
        return games

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # Gymnasium's own wrapper does so, too
        """The spec of the environment without a recorder: ``gymnasium.make`` cannot know where to record."""
        spec: EnvSpec | None = self.env.spec
        return spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a new game, as the environment does. One that had not ended has no terminal experience."""
        with self._guard("reset"):
            observation, info = self.env.reset(seed=seed, options=options)
            if self.turn_batcher is not None and not self.turn_batcher.closed:
                self._begun(tensor_of(observation)[None], seed)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play one turn, as the environment does."""
        with self._guard("step"):
            self._require_room()
            result: tuple[Any, Any, bool, bool, dict[str, Any]] = self.env.step(action)
            if self.turn_batcher is not None and self.turn_batcher.dense_capture is not None:
                self._stepped(tensor_of(result[0])[None])
        return result
