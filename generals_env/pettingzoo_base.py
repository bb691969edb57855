"""Implements what PettingZoo's AEC and parallel environments share: agents, spaces, rendering, copies and collectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import gymnasium.spaces
import numpy as np
import numpy.typing as npt

from generals_env.collector import Collector
from generals_env.config import RENDER_FPS, RENDER_MODES, GameConfig
from generals_env.engine.boards import Boards
from generals_env.engine.simulation.single_game import AFTER
from generals_env.errors import ConfigError, StateError
from generals_env.game import Game
from generals_env.pickling import CopiedWhole
from generals_env.rendering.shows_games import ShowsGames
from generals_env.spaces import action_space, observation_space, state_space

if TYPE_CHECKING:
    from generals_env.vector import GeneralsVector

__all__ = ["PettingZooBase"]

Self = TypeVar("Self", bound="PettingZooBase")


class PettingZooBase(ShowsGames, CopiedWhole):
    """Base class of the environments for one game with agents named ``player_0``, ``player_1``, ..."""

    metadata: dict[str, Any] = {  # noqa: RUF012 - name and type are PettingZoo's
        "name": "generals_v0",
        "render_modes": list(RENDER_MODES),
        "render_fps": RENDER_FPS,
        "is_parallelizable": True,
    }

    def __init__(self, config: GameConfig) -> None:
        """Create the game, the agents and their spaces."""
        self.game = Game(config)
        self.render_mode = config.render_mode
        self.possible_agents = [f"player_{player}" for player in range(config.players)]
        self.agents: list[str] = []
        self.index = {agent: player for player, agent in enumerate(self.possible_agents)}
        self.observation_spaces = {agent: observation_space(config) for agent in self.possible_agents}
        self.action_spaces = {agent: action_space(config) for agent in self.possible_agents}
        self.state_space = state_space(config)

    @property
    def config(self) -> GameConfig:
        """The configuration."""
        return self.game.config

    def observation_space(self, agent: str) -> gymnasium.spaces.Dict:
        """Return the space of the agent's observations: always the same object, as PettingZoo requires."""
        return self.observation_spaces[self.possible_agents[self.player(agent)]]

    def action_space(self, agent: str) -> gymnasium.spaces.Discrete:
        """Return the space of the agent's actions: always the same object, as PettingZoo requires."""
        return self.action_spaces[self.possible_agents[self.player(agent)]]

    def state(self) -> npt.NDArray[np.int32]:
        """Return the full board as (3, H, W) int32: owner, army, terrain.

        Raises:
            StateError: Before the first reset.
        """
        self.require_reset("state")
        return self.game.state()

    def board(self) -> Boards:
        """Return a copy of the full state of the game (one board)."""
        self.require_reset("board")
        return self.game.board()

    def surrender(self, agent: str) -> None:
        """Remove ``agent`` from the game before the next turn; 50 turns later its land becomes neutral.

        Raises:
            StateError: If the agent is not a living player of a running game.
        """
        if agent not in self.agents:
            raise StateError(f"surrender: expected one of {self.agents}, got {agent!r}: pass an agent of a running game")
        self.game.surrender(self.index[agent])

    def is_game_over(self) -> bool:
        """Return whether at most one team is left."""
        return self.game.is_over()

    def get_winner(self) -> int:
        """Return the first living player of the winning team, or -1 for a draw or a running game."""
        return self.game.get_winner()

    def add_collector(self, collector: Collector) -> None:
        """Notify ``collector`` of each turn from now on."""
        self.game.add_collector(collector)

    def remove_collector(self, collector: Collector) -> None:
        """Stop notifying ``collector``.

        Raises:
            StateError: If it was not added before.
        """
        if collector not in self.game.collectors:
            raise StateError(f"collector: expected one that was added, got {collector!r}: call add_collector() first")
        self.game.collectors.remove(collector)

    def render(self) -> npt.NDArray[np.uint8] | str | None:
        """Return an image or a text of the board, depending on ``render_mode``; ``"human"`` shows the board.

        Raises:
            StateError: Before the first reset, or without a render mode.
        """
        self.require_reset("render")
        rendered: npt.NDArray[np.uint8] | str | None = self._rendered()[0]
        return rendered

    def _games_to_show(self) -> tuple[Boards, Sequence[int], GameConfig] | None:
        return (self.game.boards, (AFTER,), self.config) if self.game.started else None

    def close(self) -> None:
        """Close the window, if there is one; calling it twice is allowed."""
        self._close_display()

    def clone(self: Self) -> Self:
        """Return an independent copy in the same state, without collectors.

        Raises:
            StateError: Before the first reset.
        """
        self.require_reset("clone")
        other = type(self)(self.config)
        other.restore(self)
        return other

    def branch(
        self, k: int, seed: int | None = None, common: bool = True, reuse: GeneralsVector | None = None
    ) -> GeneralsVector:
        """Return a vector environment with k copies of the game that continue where it is; see ``GeneralsVector.branch``.

        A turn for which some agents have chosen and others have not is not played: the copies begin before it.

        Raises:
            ConfigError: If an argument is invalid.
            StateError: Before the first reset.
        """
        from generals_env.vector import GeneralsVector

        self.require_reset("branch")
        with self.game.guard("branch"):
            one = GeneralsVector(1, self.config, autoreset_mode="DISABLED")
            game = self.game
            one.continue_games(game.board(), np.zeros(1, np.int64), game.active[None], game.illegal_count[None])
            one.batch.seed(game.random_state, np.ones(1, np.bool_))
        return one.branch(k, 0, seed, common, reuse)

    def restore(self, other: Any) -> None:
        """Copy the state of ``other``, an environment of the same class and configuration, into this one.

        Raises:
            StateError: If ``other`` has another configuration or has not been reset.
        """
        if not isinstance(other, type(self)):
            raise StateError(
                f"restore: expected a {type(self).__name__}, got {type(other).__name__}: pass the unwrapped environment"
            )
        with self.game.guard("restore"):
            self.game.restore(other.game)
            self.agents = list(other.agents)

    def _begin(self, seed: int | None, options: dict[str, Any] | None) -> None:
        """Begin a new game for the agents whose game has not ended on its first board."""
        start = options.get("start") if isinstance(options, dict) else None
        if start is not None:
            if not isinstance(start, Boards) or len(start.games) != 1:
                raise ConfigError(f"start: expected Boards, one of them, got {start!r:.200}: see start_boards")
            start = self.config.fit_start(start)
        self.game.reset(seed, start)
        self.agents = [agent for agent, player in self.index.items() if self.game.active[player]]

    def player(self, agent: str) -> int:
        """Return the index of ``agent``; raise ``ConfigError`` if the agent does not exist."""
        try:
            return self.index[agent]
        except (KeyError, TypeError):
            raise ConfigError(f"agent: expected one of {self.possible_agents}, got {agent!r}") from None

    def require_reset(self, name: str) -> None:
        """Raise ``StateError`` if ``reset`` was never called."""
        if not self.game.started:
            raise StateError(f"{name}: expected a call of reset() before, got none: call reset() first")

    def agent_info(self, player: int) -> dict[str, Any]:
        """Return the info of a player: whether the last action was illegal, and how many were in this game."""
        return {
            "illegal_action": bool(self.game.illegal[player]),
            "illegal_actions": int(self.game.illegal_count[player]),
        }
