"""Implements one game for several agents in the form of RLlib's ``MultiAgentEnv``, without importing Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from generals_env.actions import check_action, check_actions
from generals_env.arguments import check_options
from generals_env.config import OPTIONS, RENDER_FPS, RENDER_MODES, GameConfig
from generals_env.engine.policies.codes import GIVEN
from generals_env.errors import ActionError, ConfigError, StateError
from generals_env.opponents import POLICY_NAMES, is_builtin, policy_code
from generals_env.pickling import CopiedWhole
from generals_env.seeding import mixed_seed, seed_state
from generals_env.spaces import action_space
from generals_env.vector import GeneralsVector
from generals_env.wrappers.rllib_single import rllib_observations, rllib_space, runner_index, wrapped

__all__ = ["MultiAgentGame", "OpposedVector"]

#: Options of the environment beside those of a game.
OWN_OPTIONS = ("opponents", "dtype", "wrap")

AgentObservations = dict[str, dict[str, npt.NDArray[Any]]]
Infos = dict[str, dict[str, Any]]
StepResult = tuple[AgentObservations, dict[str, float], dict[str, bool], dict[str, bool], Infos]


class OpposedVector(GeneralsVector):
    """Games in which the engine plays some of the seats: actions that are passed for these are ignored."""

    codes: npt.NDArray[np.int64] | None = None  # of the policies of all seats, GIVEN for agents; None without opponents

    def _resized(self, count: int) -> Self:
        other = super()._resized(count)
        other.codes = self.codes
        return other

    def _take(self, actions: Any) -> None:
        own = check_actions(actions, (self.num_envs, self.config.players), self.config.actions)
        if self.codes is not None:
            self.batch.act(self.codes)
            own = np.where(self.codes == GIVEN, own, self.batch.outcome.actions)
        self.batch.outcome.actions[:] = own


class MultiAgentGame(CopiedWhole):
    """One game as RLlib's multi-agent environment: agents ``player_0``, ``player_1``, ... in the order of their seats.

    An observation is a dict of ``"observations"`` (C, H, W) in ``dtype`` and ``"action_mask"`` int8 (8*H*W + 1,): the names
    that RLlib's own modules with masks expect. An illegal action counts as pass. Seats with a built-in opponent are no agents:
    the engine plays them.

    ``step`` tells a truncation by ``"__all__"`` alone. RLlib takes an episode whose agents are all done one by one for
    terminated, also where each was truncated, and would not bootstrap.

    Attributes:
        agents: The agents that the last ``reset`` or ``step`` returned; those whose game ended with it are among them.
        possible_agents: All agents.
        games: The game: a ``GeneralsVector`` of one, wrapped if ``wrap`` is given.
        observation_spaces: The space of each agent's observations.
        action_spaces: The space of each agent's actions.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        """Create the game.

        Args:
            config: RLlib's ``env_config``: fields of ``GameConfig``, and

                - ``opponents``: Names of built-in policies, one a player, None for players that are agents. One name alone
                  gives it to all players but the first. None (the default) for no opponents.
                - ``dtype``: Dtype of the observations, see ``generals_env.make_vec``.
                - ``wrap``: A function that is given the game, a ``GeneralsVector`` of one, and returns it wrapped or recorded.

        Raises:
            ConfigError: If the value of an option is invalid.
            OptionError: If an option is unknown.
            MapError: If ``map`` does not describe a board.
        """
        options = dict(config or {})
        check_options(type(self), options, (*OWN_OPTIONS, *OPTIONS))
        opponents, wrap = options.pop("opponents", None), options.pop("wrap", None)
        #: Seeds of neighbouring environment runners differ by one, as those of the games of one runner do: without the index of
        #: the runner, game 1 of one would repeat game 0 of the next.
        self._runner = runner_index(config)
        dtype = options.pop("dtype", np.float32)
        self.config = GameConfig.from_options(**options)
        players = self.config.players
        names = checked_opponents(opponents, players)
        games = OpposedVector(1, self.config, autoreset_mode="DISABLED", threads=1, dtype=dtype)
        if any(names):
            games.codes = np.array([policy_code(name) if name else GIVEN for name in names], np.int64)
        self.possible_agents = [f"player_{seat}" for seat in range(players) if names[seat] is None]
        self.agents = list(self.possible_agents)
        super().__init__()
        self._seats = {agent: int(agent.removeprefix("player_")) for agent in self.possible_agents}
        self._going: list[str] = []  # agents whose game has not ended
        self.games = wrapped(games, wrap)
        space = self.games.single_observation_space
        self.observation_spaces = {agent: rllib_space(space, seat) for agent, seat in self._seats.items()}
        self.action_spaces = {agent: action_space(self.config) for agent in self.possible_agents}
        self._passing = 8 * int(np.prod(self.config.shape))  # the index of pass
        # RLlib writes into the metadata: they are this object's, not the class's.
        self.metadata = {"render_modes": list(RENDER_MODES), "render_fps": RENDER_FPS}
        self.render_mode = self.config.render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[AgentObservations, Infos]:
        """Begin a new game and return the observation and the info of each agent.

        Args:
            seed: Seed of the maps and the opponents; None continues the current random streams. In an environment runner with
                an index above 0 the game depends on the index, too.
            options: ``{"start": boards}`` begins with this board.

        Raises:
            ConfigError: If the seed is not a non-negative integer, the board is invalid, or no fair map was found.
        """
        seed_state(seed)  # checks it: the vector environment would accept a list
        seed = mixed_seed(seed, self._runner)
        start = {"start": options["start"]} if isinstance(options, dict) and "start" in options else None
        observations, infos = self.games.reset(seed=seed, options=start)
        active = self.games.unwrapped.batch.outcome.active[0]
        self._going = [agent for agent, seat in self._seats.items() if active[seat]]
        self.agents = list(self._going)
        return self._observations(observations), self._infos(infos)

    def step(self, action_dict: Mapping[str, Any]) -> StepResult:
        """Play one turn.

        Args:
            action_dict: One index of the action space for each agent whose game goes on. An illegal action counts as pass.

        Returns:
            Observations, rewards, terminations, truncations (with ``"__all__"``) and infos of the agents that acted. A
            truncation stands under ``"__all__"`` only.

        Raises:
            ActionError: If the keys are not exactly these agents, or an action is out of range; no turn was played.
            StateError: Before the first reset, or after the end of the game.
        """
        if not self._going:
            raise StateError("step: expected a running game, got actions before reset() or after its end: call reset() first")
        if not isinstance(action_dict, Mapping) or set(action_dict) != set(self._going):
            got = list(action_dict) if isinstance(action_dict, Mapping) else action_dict
            raise ActionError(f"actions: expected one for each of {self._going}, got {got!r:.200}")
        chosen = {self._seats[agent]: check_action(action, self.config.actions) for agent, action in action_dict.items()}
        actions = np.full((1, self.config.players), self._passing, np.int64)  # opponents' and eliminated players' are ignored
        for seat, action in chosen.items():
            actions[0, seat] = action
        observations, rewards, terminated, truncated, infos = self.games.step(actions)
        acted, seats = self._going, self._seats
        self.agents = acted
        ended = {agent: bool(terminated[0, seats[agent]]) for agent in acted}
        self._going = [agent for agent in acted if not (ended[agent] or truncated[0, seats[agent]])]
        cut = not self._going and not all(ended.values())
        return (
            self._observations(observations),
            {agent: float(rewards[0, seats[agent]]) for agent in acted},
            {**ended, "__all__": not self._going and not cut},
            {**dict.fromkeys(acted, False), "__all__": cut},
            self._infos(infos),
        )

    def _observations(self, arrays: Mapping[str, npt.NDArray[Any]]) -> AgentObservations:
        both, seats = rllib_observations(arrays), self._seats
        return {agent: {name: array[0, seats[agent]] for name, array in both.items()} for agent in self.agents}

    def _infos(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Infos:
        illegal, count, seats = arrays["illegal_action"][0], arrays["illegal_actions"][0], self._seats
        return {
            agent: {"illegal_action": bool(illegal[seats[agent]]), "illegal_actions": int(count[seats[agent]])}
            for agent in self.agents
        }

    def render(self) -> Any:
        """Return an image or a text of the board, depending on ``render_mode``; ``"human"`` shows the board.

        Raises:
            StateError: Before the first reset, or without a render mode.
        """
        return self.games.render()[0]

    def close(self) -> None:
        """Close the game and its wrappers; calling it twice is allowed."""
        self.games.close()


def checked_opponents(opponents: Any, players: int) -> list[str | None]:
    """Return the built-in policy of each player, None for agents.

    Raises:
        ConfigError: If ``opponents`` is neither None, a built-in name, nor a list of one name or None a player, or if it leaves
            no agent.
    """
    if opponents is None:
        return [None] * players
    if isinstance(opponents, str):
        opponents = [None] + [opponents] * (players - 1)
    listed = isinstance(opponents, Sequence) and len(opponents) == players and None in opponents
    if not listed or not all(name is None or is_builtin(name) for name in opponents):
        raise ConfigError(
            f"opponents: expected None, one of {POLICY_NAMES}, or a list of these, one for each of {players} players and None "
            f"for at least one agent, got {opponents!r:.200}"
        )
    return list(opponents)
