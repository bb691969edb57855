"""Recorders of Gymnasium's environments: many games at once, or one, straight from the arrays of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorWrapper

from generals_env.concurrency.guard import Guard
from generals_env.engine.packed.recording import NOBODY
from generals_env.errors import ConfigError
from generals_env.recorders.experience.sink import AnySink
from generals_env.recorders.recording.base import ExperienceRecorder
from generals_env.recorders.recording.dense_capture import DenseObservationCapture, tensor_of
from generals_env.recorders.recording.kernel_player import PlayWriter
from generals_env.recorders.recording.metadata import recording_metadata, seed_of
from generals_env.recorders.recording.turn_batcher import TurnBatcher
from generals_env.recorders.recording.turn_writer import TurnWriter
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
    """What the recorders of ``VectorBase`` and what is built on it have in common."""

    def _games(self) -> VectorBase:
        """Return the games at the bottom."""
        raise NotImplementedError

    def _config(self) -> Any:
        return self._games().config

    def _find_guard(self) -> Guard:
        return self._games().guard

    def _journal(self, sink: AnySink, run_id: str | None, opponents: bool, policies: Any) -> TurnBatcher:
        games = self._games()
        config = games.config
        single = isinstance(games, GeneralsSingleVector)
        if opponents and not single:
            raise ConfigError("opponents: expected an environment with one learning player, got one of all players")
        if policies is None and isinstance(games, GeneralsSingleVector):
            name = games.opponent if isinstance(games.opponent, str) else type(games.opponent).__name__
            policies = [None if seat == games.player else name for seat in range(config.players)]
        self._observed = inspect_wrappers(self.env, config)
        self._opponents = opponents
        self._checked = self._observed.dense or self._observed.turned  # whether what is shown is what was derived
        seat = games.player if isinstance(games, GeneralsSingleVector) and not opponents else NOBODY
        self._require_seat(self._observed)
        recipe = plain_recipe(self._observed.recipe) if self._observed.dense else self._observed.recipe
        metadata = recording_metadata(config, self._observed, policies)
        journal = TurnBatcher(open_sink(sink), games.num_envs, run_id, seat, recipe, metadata)
        if self._observed.dense:
            journal.shown = DenseObservationCapture(self._shown_players())
        return journal

    def _shown_players(self) -> int:
        games = self._games()
        return 1 if isinstance(games, GeneralsSingleVector) else games.config.players

    def _require_seat(self, observed: WrapperStack) -> None:
        if observed.dense and self._opponents:
            raise ConfigError(
                "opponents: expected False where wrappers change observations "
                f"({', '.join(observed.wrappers)}): they are known of the learning player only, got True"
            )

    def _attach(self, journal: TurnBatcher) -> None:
        games = self._games()
        self._writer = TurnWriter(journal)
        games.listeners.append(self._writer)
        if games.started and journal.shown is None:  # in the middle of games
            journal.begin(games.batch.boards, games.going)

    def _detach(self) -> None:
        self._games().listeners.remove(self._writer)

    def _begun(self, observations: Any, seed: Any) -> None:
        """Take note of a reset and of what it shows, (B, ...)."""
        journal = self.journal
        if journal is None or journal.closed:
            return
        self._note(seed=seed_of(seed))
        if not self._checked:
            self._checked = True
            self._compare(journal, observations)
        if journal.shown is not None:
            journal.shown.show(observations)

    def _compare(self, journal: TurnBatcher, observations: Any) -> None:
        """Keep observations as they are shown if they are not what the recipe makes of the boards."""
        games = self._games()
        learner = games.player if isinstance(games, GeneralsSingleVector) else NOBODY
        derived = initial_observations(games.batch.boards, journal.recipe, learner)
        shown = tensor_of(observations)
        if derived.dtype == shown.dtype and np.array_equal(derived, shown):
            return
        observed = WrapperStack(self._observed.recipe, True, self._observed.turned, self._observed.wrappers)
        self._require_seat(observed)
        everybody = np.ones(games.num_envs, np.bool_)
        journal.leave(everybody)
        journal.finish(goes_on=False)
        self._note(observations="dense")
        journal.recipe = plain_recipe(journal.recipe)
        journal.shown = DenseObservationCapture(self._shown_players())
        journal.begin(games.batch.boards, everybody)

    def _stepped(self, observations: Any, final: dict[int, Any] | None = None) -> None:
        """Take what a step showed, and the last observations of games that ended in it and began anew."""
        journal = self.journal
        if journal is not None and journal.shown is not None and not journal.closed:
            journal.shown.show(observations, final)


class AttributePassing(GamesRecorder):
    """Passes on what Gymnasium's wrappers do not: ``act``, ``boards``, ``action_masks`` and the like."""

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
            raise ConfigError(f"env: expected an environment of generals_env, got {type(env.unwrapped).__name__}")

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
            if self.journal is not None and self.journal.shown is not None:
                infos = result[4]
                ended = infos.get("_final_obs")
                final = None if ended is None else {int(b): infos["final_obs"][b] for b in np.flatnonzero(ended)}
                self._stepped(result[0], final)
        return result

    def play(self, turns: int, policies: Sequence[str]) -> PlayCounts:
        """Play built-in policies against each other as ``GeneralsVector.play`` does, and record it where it is played.

        Wrappers in between see nothing of it. Records have the observations that the package's own would have made. After
        Ctrl-C every turn that was played is recorded, once, and recording can go on.

        Args:
            turns: How many turns of every game.
            policies: One name a player, of ``generals_env.opponents.POLICIES``.

        Returns:
            What was played, and what would have been without recording.

        Raises:
            ConfigError: As ``GeneralsVector.play``, or if wrappers of others change observations.
            StateError: Before the first reset, or after ``close``.
            StorageError: If it cannot be written.
        """
        games, journal = self._games(), self.journal
        if not isinstance(games, GeneralsVector):
            raise ConfigError(f"play: expected a GeneralsVector, got a {type(games).__name__}")
        if journal is None or journal.closed:
            return games.play(turns, policies)
        if journal.shown is not None:
            raise ConfigError(f"play: expected wrappers that leave observations as they are, got {self._observed.wrappers}")
        with self._guard("play"):
            told = journal.metadata["policies"]
            games.check_play(turns, policies)
            self._require_room()
            self._note(policies=list(policies))
            try:
                counts = games.play_by(PlayWriter(journal, games.batch), turns, policies)
            finally:  # whatever the sink raised, games go on
                journal.finish()
                self._note(policies=told)
                if games.started:
                    journal.resume(games.batch.boards, ~journal.present() & games.going)
            journal.write()
        return counts


class SingleRecorder(AttributePassing, gymnasium.Wrapper[Any, Any, Any, Any]):  # type: ignore[misc]  # two kinds of __exit__
    """Records a ``GeneralsSingle``, wrapped or not."""

    @classmethod
    def _check(cls, env: Any) -> None:
        if not isinstance(env.unwrapped, GeneralsSingle):
            raise ConfigError(f"env: expected an environment of generals_env, got {type(env.unwrapped).__name__}")

    def _games(self) -> VectorBase:
        games: VectorBase = self.env.unwrapped.games
        return games

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]  # Gymnasium's own wrapper does so, too
        """How ``gymnasium.make`` makes the environment anew, without a recorder: it cannot know where to record."""
        spec: EnvSpec | None = self.env.spec
        return spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a new game, as the environment does. One that had not ended has no terminal experience."""
        with self._guard("reset"):
            observation, info = self.env.reset(seed=seed, options=options)
            if self.journal is not None and not self.journal.closed:
                self._begun(tensor_of(observation)[None], seed)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Play one turn, as the environment does."""
        with self._guard("step"):
            self._require_room()
            result: tuple[Any, Any, bool, bool, dict[str, Any]] = self.env.step(action)
            if self.journal is not None and self.journal.shown is not None:
                self._stepped(tensor_of(result[0])[None])
        return result
