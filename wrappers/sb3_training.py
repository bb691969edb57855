"""Follows a training of Stable-Baselines3: ``RecentWins`` logs how the last games ended, and ends it after some minutes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from generals_env.arguments import check_flag, check_integer, is_number
from generals_env.config import RewardConfig
from generals_env.errors import ConfigError

try:
    from stable_baselines3.common.callbacks import BaseCallback
except ModuleNotFoundError as error:
    raise ImportError(f'RecentWins: expected stable_baselines3, got {error}: pip install "generals_env[sb3]"') from None

__all__ = ["RecentWins"]


class RecentWins(BaseCallback):
    """Callback that logs the shares of the last games won and lost against each opponent, and ends the training in time.

    It logs ``minutes``, and ``games_NAME``, ``wins_NAME`` and ``losses_NAME`` after each rollout: with the logger's format
    ``"csv"``, ``generals_env.learning.curves.read_curve`` reads the file.

    Attributes:
        minutes: Minutes of training so far.
    """

    def __init__(
        self,
        opponents: Sequence[str],
        reward: RewardConfig,
        *,
        limit: float | None = None,
        recent: int = 200,
        show: bool = False,
    ) -> None:
        """Prepare; the time begins with the training.

        Args:
            opponents: Name of the opponent of each game, in the order of the games.
            reward: The rewards of the games; those of a victory and of a defeat tell how a game ended, so they must differ.
            limit: Minutes after which the training ends.
            recent: How many of the last games against each opponent are counted.
            show: Whether to show a progress bar with the shares of wins.

        Raises:
            ConfigError: If an argument is invalid.
        """
        super().__init__()
        if limit is not None and (not is_number(limit) or limit <= 0):
            raise ConfigError(f"limit: expected a number of minutes above 0, got {limit!r:.80}")
        if reward.win_game == reward.lose_game:
            raise ConfigError(f"reward: expected other rewards for a victory than for a defeat, got {reward.win_game} for both")
        self.opponents, self.reward, self.limit = list(opponents), reward, limit
        last = check_integer("recent", recent, 1, 10**7)
        self._rewards = {name: deque[float](maxlen=last) for name in sorted(set(opponents))}  # the last one of each game
        self._bar: Progress | None = None
        self._shows = check_flag("show", show)
        self._began: float | None = None

    @property
    def minutes(self) -> float:
        """Minutes of training so far."""
        return 0.0 if self._began is None else (time.monotonic() - self._began) / 60

    def _on_training_start(self) -> None:
        if self._began is None:  # ``learn`` may be called several times
            self._began = time.monotonic()
        if self._shows:
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._task = self._bar.add_task("training", total=self.limit)
            self._bar.start()

    def _on_step(self) -> bool:
        for index in np.flatnonzero(self.locals["dones"]):
            self._rewards[self.opponents[index]].append(float(self.locals["rewards"][index]))
        if self._bar is not None:
            self._bar.update(self._task, completed=self.minutes, description=f"{self.num_timesteps:,} steps, wins: {self}")
        return self.limit is None or self.minutes < self.limit

    def _on_rollout_end(self) -> None:
        self.logger.record("minutes", self.minutes)
        for name, rewards in self._rewards.items():
            self.logger.record(f"games_{name}", len(rewards))
            self.logger.record(f"wins_{name}", self.share(name, self.reward.win_game))
            self.logger.record(f"losses_{name}", self.share(name, self.reward.lose_game))

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def share(self, opponent: str, reward: float) -> float:
        """Return the share of the last games against an opponent that ended with this reward: it replaces all other terms."""
        rewards = np.array(self._rewards[opponent])
        return float(np.isclose(rewards, reward, rtol=1e-6).sum() / max(len(rewards), 1))

    def __str__(self) -> str:
        """Return the shares of wins as text."""
        return ", ".join(f"{self.share(name, self.reward.win_game):.0%} against {name}" for name in self._rewards)
