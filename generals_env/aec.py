"""Implements PettingZoo's AEC environment: agents act one after another, then all moves of the turn are played at once."""

from __future__ import annotations

from threading import get_ident
from typing import Any

from pettingzoo import AECEnv

from generals_env.actions import check_action
from generals_env.arguments import shown
from generals_env.config import GameConfig
from generals_env.errors import ActionError, StateError
from generals_env.game import Observation
from generals_env.pettingzoo_base import PettingZooBase

__all__ = ["GeneralsAEC"]


class GeneralsAEC(PettingZooBase, AECEnv[str, Observation, int]):  # type: ignore[misc]  # both declare the same attributes
    """Generals for 2 to 16 agents that act one after another; the moves of a turn are played together.

    No agent sees the action of another agent in the same turn. Observations are dicts of ``"observation"`` float32 (C, H, W),
    C = 9 or 21, and ``"action_mask"`` int8 (8*H*W + 1,).
    """

    def __init__(self, config: GameConfig) -> None:
        """Create the environment; call ``reset`` before any other method."""
        super().__init__(config)
        self.rewards: dict[str, float] = {}
        self.terminations: dict[str, bool] = {}
        self.truncations: dict[str, bool] = {}
        self.infos: dict[str, dict[str, Any]] = {}
        self._cumulative_rewards: dict[str, float] = {}
        self.agent_selection = self.possible_agents[0]
        self._skip_agent_selection: str | None = None  # type: ignore[assignment]  # PettingZoo also assigns None
        self._rewarded = False  # whether a reward in the dict may be other than zero
        self._illegal = False  # whether an info reports an illegal action

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin a new game.

        Args:
            seed: Seed of the maps; None continues the current random stream.
            options: ``{"start": boards}`` begins with this board instead of a new map.

        Raises:
            ConfigError: If the seed is not a non-negative integer, the board is invalid, or no fair map was found.
        """
        with self.game.guard("reset"):
            self._begin(seed, options)
            self.rewards = dict.fromkeys(self.agents, 0.0)
            self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
            self.terminations = dict.fromkeys(self.agents, False)
            self.truncations = dict.fromkeys(self.agents, False)
            self.infos = {agent: self.agent_info(self.index[agent]) for agent in self.agents}
            self.agent_selection = self.agents[0]
            self._skip_agent_selection = None
            self._rewarded = False
            self._illegal = False
        self._show()

    def observe(self, agent: str) -> Observation:
        """Return the observation of ``agent`` for the current turn, as new arrays.

        Raises:
            StateError: Before the first reset.
        """
        self.require_reset("observe")
        return self.game.observation(self.player(agent))

    def last(self, observe: bool = True) -> tuple[Observation | None, float, bool, bool, dict[str, Any]]:
        """Return observation, reward since the last action, terminated, truncated and info of ``agent_selection``.

        Args:
            observe: Whether to return the observation; if False, None is returned instead.

        Raises:
            StateError: Before the first reset, or when no agent is left.
        """
        agent = self.agent_selection
        if agent not in self._cumulative_rewards:
            self.require_reset("last")
            raise StateError("last: expected a running game, got a call after its end: call reset() first")
        return (
            self.game.observation(self.index[agent]) if observe else None,
            self._cumulative_rewards[agent],
            self.terminations[agent],
            self.truncations[agent],
            self.infos[agent],
        )

    def step(self, action: int | None) -> None:
        """Take the action of ``agent_selection``; the last action of a turn plays the turn.

        Args:
            action: Index of the action space; None for an agent whose game has ended. An illegal action counts as pass.

        Raises:
            ActionError: If the action is not an integer or is out of range.
            StateError: Before the first reset, or when no agent is left.
        """
        if not self.agents or not self.game.started:
            self.require_reset("step")
            raise StateError("step: expected a running game, got an action after its end: call reset() first")
        agent, game, me = self.agent_selection, self.game, get_ident()
        if game.guard.thread and game.guard.thread != me:
            raise game.guard.refuse("step")
        if self.terminations[agent] or self.truncations[agent]:
            if action is not None:
                raise ActionError(f"action: expected None for {agent}, whose game has ended, got {shown(action)}: pass None")
            with game.guard("step"):
                self._was_dead_step(None)  # type: ignore[arg-type]  # PettingZoo expects None here
            return
        index = check_action(action, game.actions_count)
        if game.collectors and agent == self.agents[-1]:
            with game.guard("step"):
                self._choose(agent, index)
                self._play()
                game.publish()
            self._show()
            return
        # A ``Guarded`` block would make a turn a fifth slower: instead, an interrupted turn is completed when it raises.
        before = game.finished
        try:
            game.guard.thread = me
            played = self._choose(agent, index)
            if played:
                self._play()
        except BaseException:
            with game.guard("step"):
                if self._choose(agent, index):
                    game.finish(before)
                    self._update_dicts()
            raise
        finally:
            game.guard.thread = 0
        if played:
            self._show()

    def _choose(self, agent: str, index: int) -> bool:
        """Store an action and return whether it is the last of the turn; a repeated call changes nothing."""
        self.game.actions[self.index[agent]] = index
        self._cumulative_rewards[agent] = 0.0
        if self._rewarded:
            self._clear_rewards()
            self._rewarded = False
        position = self.agents.index(agent) + 1
        if position < len(self.agents):
            self.agent_selection = self.agents[position]
            return False
        self.agent_selection = self.agents[0]
        return True

    def _play(self) -> None:
        """Play the turn and update the dicts of PettingZoo if they change."""
        if self.game.play() or self._illegal:
            self._update_dicts()

    def _update_dicts(self) -> None:
        """Write rewards, terminations, truncations and infos of the turn just played."""
        game = self.game
        self._rewarded = True
        self._illegal = bool(game.illegal.any())
        for name in self.agents:
            player = self.index[name]
            reward = float(game.rewards[player])
            self.rewards[name] = reward
            self._cumulative_rewards[name] = reward  # ``_choose`` cleared the sum of earlier turns
            self.terminations[name] = bool(game.terminated[player])
            self.truncations[name] = bool(game.truncated[player])
            self.infos[name] = self.agent_info(player)
        living = [name for name in self.agents if not (self.terminations[name] or self.truncations[name])]
        if len(living) < len(self.agents):
            self.agent_selection = living[0] if living else self.agents[0]
            self._deads_step_first()

    def restore(self, other: Any) -> None:
        """Copy the state of ``other``, an environment of the same class and configuration, into this one.

        Raises:
            StateError: If ``other`` has another configuration or has not been reset.
        """
        with self.game.guard("restore"):
            super().restore(other)
            self.rewards = dict(other.rewards)
            self._cumulative_rewards = dict(other._cumulative_rewards)
            self.terminations = dict(other.terminations)
            self.truncations = dict(other.truncations)
            self.infos = {agent: dict(info) for agent, info in other.infos.items()}
            self.agent_selection = other.agent_selection
            self._skip_agent_selection = other._skip_agent_selection
            self._rewarded = other._rewarded
            self._illegal = other._illegal
