"""Records Stable-Baselines3 vector environments; imported only when one is recorded, as the library is optional."""

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
            raise ConfigError(
                f"env: expected an SB3VecEnv, wrapped or not, got {type(env.unwrapped).__name__}: pass one that SB3VecEnv made"
            )

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
            if self.turn_batcher is not None and self.turn_batcher.dense_capture is not None:
                observations, _, dones, infos = result
                final = {int(b): infos[b]["terminal_observation"] for b in np.flatnonzero(dones)}
                self._stepped(observations, final)
        return result
