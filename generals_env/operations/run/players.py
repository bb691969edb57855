"""Plays games in batches, with built-in policies inside the kernel or with trained networks turn by turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env import make_vec
from generals_env.agents.shipped import is_shipped
from generals_env.operations.settings.models import Settings
from generals_env.operations.settings.options import game_options, player_policies
from generals_env.opponents import as_policy, is_builtin
from generals_env.recorders import ExperienceRecorder, Sink

__all__ = ["GamePlayer", "load_model"]

TURNS = 16  # of a game in one call


class GamePlayer:
    """Plays the games of one configuration and records them."""

    def __init__(self, settings: Settings, sink: Sink | None, seed: int | None) -> None:
        """Make the games.

        Args:
            settings: The settings.
            sink: Takes the experience; None records nothing.
            seed: Seed of the games; None for a random one.

        Raises:
            ConfigError: If an option of the games is invalid, or a policy does not fit them.
            StorageError: If the checkpoint of a policy cannot be loaded.
        """
        games = settings.games
        self._names = player_policies(games)
        self._models = {name: load_model(name) for name in set(self._names) if not is_builtin(name)}
        self._venv = make_vec(games.parallel, copy=False, threads=games.threads, **game_options(games, settings.rewards))
        self._env: Any = self._venv
        if sink is not None:
            self._env = ExperienceRecorder(
                self._venv, sink, policies=self._names, policy_versions=[games.policy_version] * games.players
            )
        self._observations, _ = self._env.reset(seed=seed)
        if self._models:
            self._choose()  # raises for policies that do not fit the observations, before the first turn
        # A call plays at most a quarter of what the buffer holds, so that its limits take effect within a call.
        self.turns = max(1, min(TURNS, settings.collection.buffer_size // (4 * games.parallel * games.players)))

    @property
    def experiences(self) -> int:
        """Experiences recorded so far."""
        return int(getattr(self._env, "experiences", 0))

    def play(self) -> tuple[int, int]:
        """Play ``turns`` turns of each game; return the turns of all games together, and how many games ended."""
        if not self._models:
            counts = self._env.play(self.turns, self._names)
            return counts.turns, counts.games
        ended = 0
        for _ in range(self.turns):
            self._observations, *_, infos = self._env.step(self._choose())
            ended += int(infos["_final_obs"].sum()) if "_final_obs" in infos else 0
        return self.turns * self._venv.num_envs, ended

    def _choose(self) -> npt.NDArray[np.int64]:
        """Return the actions of all players, (B, P) int64."""
        actions = self._venv.act(["random" if name in self._models else name for name in self._names])
        for player, name in enumerate(self._names):
            if name in self._models:
                views = {key: np.ascontiguousarray(array[:, player]) for key, array in self._observations.items()}
                actions[:, player] = self._models[name](views)
        return actions

    def close(self) -> None:
        """Write all turns that were played, and close the games."""
        self._env.close()


def load_model(name: str) -> Any:
    """Return the policy of a saved network or of an agent of the package.

    Raises:
        StorageError: If it cannot be loaded.
    """
    if is_shipped(name):
        return as_policy(name)
    from generals_env.networks.saved_players import load_player

    return as_policy(load_player(name))
