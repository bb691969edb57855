"""The recorder of Stable-Baselines3's vector environments; imported only when there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper

from generals_env.errors import ConfigError
from generals_env.recorders.recording.gymnasium_recorders import GamesRecorder
from generals_env.vector_base import VectorBase

__all__ = ["SB3Recorder"]


class SB3Recorder(GamesRecorder, VecEnvWrapper):
    """Records an ``SB3VecEnv``, wrapped or not."""

    @classmethod
    def _check(cls, env: Any) -> None:
        if not isinstance(getattr(env.unwrapped, "games", None), VectorBase):
            raise ConfigError(f"env: expected an SB3VecEnv, wrapped or not, got {type(env.unwrapped).__name__}")

    @property
    def env(self) -> Any:
        """The environment below."""
        return self.venv

    def _games(self) -> VectorBase:
        bottom: Any = self.venv.unwrapped
        games: VectorBase = bottom.games
        return games

    def seed(self, seed: int | None = None) -> Any:
        """Set the seeds of the next reset."""
        seeds = self.venv.seed(seed)
        self._seed = seed
        return seeds

    def reset(self) -> Any:
        """Begin new games, as the environment does. Games that had not ended have no terminal experience."""
        with self._guard("reset"):
            observations = self.venv.reset()
            seed, self._seed = getattr(self, "_seed", None), None
            self._begun(observations, seed)
        return observations

    def step_wait(self) -> Any:
        """Play one turn, as the environment does."""
        with self._guard("step_wait"):
            self._require_room()
            result = self.venv.step_wait()
            if self.journal is not None and self.journal.shown is not None:
                observations, _, dones, infos = result
                final = {int(b): infos[b]["terminal_observation"] for b in np.flatnonzero(dones)}
                self._stepped(observations, final)
        return result
