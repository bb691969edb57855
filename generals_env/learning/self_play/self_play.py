"""Chooses the games of a learner as it becomes stronger, by its curriculum and its pool of past selves: ``SelfPlay``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from generals_env.config import GameConfig
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.rollouts.game_group import GameGroup
from generals_env.learning.rollouts.opponent_mix import POOL, games_of
from generals_env.learning.self_play.curriculum import Curriculum
from generals_env.learning.self_play.draw_watch import DrawWatch
from generals_env.learning.self_play.pool import OpponentPool
from generals_env.learning.self_play.pool_group import PoolGroup
from generals_env.networks.policy_network import PolicyNetwork

__all__ = ["SelfPlay"]


class SelfPlay:
    """The opponents of a learner: those of its options, or of the current stage of its curriculum.

    Attributes:
        config: Options of the learner.
        curriculum: The curriculum; None without one.
        pool: Past selves; None if they are no opponent.
        draws: Follows the share of draws.
    """

    def __init__(self, config: PPOConfig, network: PolicyNetwork, rng: np.random.Generator, autocast: Any) -> None:
        """Begin with the first stage.

        Args:
            config: Options of the learner.
            network: Its network, the first member of the pool.
            rng: Draws the seeds of the games and of the pool.
            autocast: Makes the context in which networks compute.
        """
        self.config = config
        self._rng, self._autocast = rng, autocast
        self.curriculum: Curriculum | None = None
        if config.curriculum is not None:
            self.curriculum = Curriculum(config.curriculum, config.opponents, config.max_turns)
        mixes = [config.opponents] if config.curriculum is None else [stage.opponents for stage in config.curriculum]
        pooled = any(POOL in (config.opponents if mix is None else mix) for mix in mixes)
        self.pool = OpponentPool(config.pool, network, int(rng.integers(2**31))) if pooled else None
        self.draws = DrawWatch()

    @property
    def opponents(self) -> dict[str, float]:
        """Opponents with weights."""
        found: dict[str, float] = self.config.opponents if self.curriculum is None else self.curriculum.opponents
        return found

    def game(self) -> GameConfig:
        """Return the options of the games."""
        stage = {} if self.curriculum is None else self.curriculum.stage.game
        return GameConfig.from_options(**{**self.config.game_options(), **stage})

    def groups(self) -> list[GameGroup]:
        """Begin the games against each opponent."""
        config, game = self.config, self.game()
        shaping = np.array([config.shaping_land, config.shaping_army, 0.0])
        groups: list[GameGroup] = []
        for name, count in games_of(self.opponents, config.games).items():
            seed = int(self._rng.integers(2**31))
            if name == POOL and self.pool is not None:
                groups.append(PoolGroup(count, game, seed, config.gamma, shaping, self.pool, self._autocast))
            else:
                groups.append(GameGroup(name, count, game, seed, config.gamma, shaping))
        return groups

    def after_rollout(
        self, groups: Sequence[GameGroup], network: PolicyNetwork, samples: int, progress: float
    ) -> tuple[dict[str, float], bool]:
        """Count the games that ended; return figures for the log, and whether other games are to begin.

        Args:
            groups: The games.
            network: The network that may become a member of the pool.
            samples: Samples that it has learned from.
            progress: Share of the training that has passed.
        """
        results = {group.name: group.take_results() for group in groups}
        figures: dict[str, float] = {}
        for name, counts in results.items():
            figures[f"games_{name}"] = int(counts.sum())
            figures[f"wins_{name}"] = float(counts[0]) / max(int(counts.sum()), 1)
        figures["draw_warnings"] = len(self.draws.observe(results))
        figures |= self.draws.figures()
        if self.pool is not None:
            self.pool.after_rollout(network, samples)
            figures |= self.pool.figures()
        if self.curriculum is None:
            return figures, False
        at_once = {group.name: group.venv.num_envs for group in groups}
        figures |= self.curriculum.figures()
        change = self.curriculum.observe(results, at_once, self.config.steps, progress)
        if change is not None:
            self.draws.clear()
        return figures, change is not None

    def state(self) -> dict[str, Any]:
        """Return tensors, numbers and texts for a checkpoint."""
        parts = {"curriculum": self.curriculum, "pool": self.pool, "draws": self.draws}
        return {name: part.state() for name, part in parts.items() if part is not None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state`` of another one with the same options; the games of the stage are to begin by ``groups``."""
        for name, part in (("curriculum", self.curriculum), ("pool", self.pool), ("draws", self.draws)):
            if part is not None and name in state:
                part.restore(state[name])
