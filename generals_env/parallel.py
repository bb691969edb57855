"""Implements PettingZoo's parallel environment: each step takes the actions of all agents."""

from __future__ import annotations

from collections.abc import Mapping
from threading import get_ident
from typing import Any

from pettingzoo import ParallelEnv

from generals_env.actions import check_action
from generals_env.config import GameConfig
from generals_env.errors import ActionError, StateError
from generals_env.game import Observation
from generals_env.pettingzoo_base import PettingZooBase

__all__ = ["GeneralsParallel"]

#: Observations, rewards, terminations, truncations and infos of agents.
StepResult = tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]


class GeneralsParallel(PettingZooBase, ParallelEnv[str, Observation, int]):  # type: ignore[misc]  # both declare the same attributes
    """Generals for 2 to 16 agents that act at the same time; observations as in the AEC environment."""

    def __init__(self, config: GameConfig) -> None:
        """Create the environment; call ``reset`` before any other method."""
        super().__init__(config)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Begin a new game and return every agent's observation and info.

        Args:
            seed: Seed of the maps; None continues the current random stream.
            options: ``{"start": boards}`` begins with this board instead of a new map.

        Raises:
            ConfigError: If the seed is not a non-negative integer, the board is invalid, or no fair map was found.
        """
        with self.game.guard("reset"):
            self._begin(seed, options)
        self._show()
        return self._observations(self.agents), {agent: self.agent_info(self.index[agent]) for agent in self.agents}

    def step(self, actions: dict[str, int]) -> StepResult:
        """Play one turn.

        Args:
            actions: One index of the action space for each of ``agents``. An illegal action counts as pass.

        Returns:
            Observations, rewards, terminations, truncations and infos of the agents that acted.

        Raises:
            ActionError: If the keys are not exactly ``agents``, or an action is out of range; no turn was played.
            StateError: Before the first reset, or when no agent is left.
        """
        if not self.agents or not self.game.started:
            self.require_reset("step")
            raise StateError("step: expected a running game, got actions after its end: call reset() first")
        if not isinstance(actions, Mapping) or set(actions) != set(self.agents):
            got = list(actions) if isinstance(actions, Mapping) else actions
            raise ActionError(
                f"actions: expected one for each of {self.agents}, got {got!r:.200}: pass one for each of env.agents"
            )
        game = self.game
        indices = {agent: check_action(action, game.actions_count) for agent, action in actions.items()}
        me = get_ident()
        if game.guard.thread and game.guard.thread != me:
            raise game.guard.refuse("step")
        if game.collectors:
            with game.guard("step"):
                result = self._play(indices)
                game.publish()
            self._show()
            return result
        # As in the AEC environment: an interrupted turn is completed before the exception leaves.
        before = game.finished
        try:
            game.guard.thread = me
            result = self._play(indices)
        except BaseException:
            with game.guard("step"):
                self._choose(indices)
                game.finish(before)
                self.agents = [agent for agent in self.agents if game.active[self.index[agent]]]
            raise
        finally:
            game.guard.thread = 0
        self._show()
        return result

    def _choose(self, indices: dict[str, int]) -> None:
        for agent, index in indices.items():
            self.game.actions[self.index[agent]] = index

    def _play(self, indices: dict[str, int]) -> StepResult:
        game = self.game
        self._choose(indices)
        game.play()
        acted = self.agents
        rewards = {agent: float(game.rewards[self.index[agent]]) for agent in acted}
        terminated = {agent: bool(game.terminated[self.index[agent]]) for agent in acted}
        truncated = {agent: bool(game.truncated[self.index[agent]]) for agent in acted}
        infos = {agent: self.agent_info(self.index[agent]) for agent in acted}
        self.agents = [agent for agent in acted if not (terminated[agent] or truncated[agent])]
        return self._observations(acted), rewards, terminated, truncated, infos

    def _observations(self, agents: list[str]) -> dict[str, Observation]:
        return {agent: self.game.observation(self.index[agent]) for agent in agents}
