"""Implements ``Opponent``, a built-in policy as a function from one observation to an action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer
from generals_env.config import MAX_TURNS, TOUCH_TURN
from generals_env.engine.boards import COMPETITION_VERSION, LIVE_VERSION
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.engine.policies.reference import expander_action, random_action
from generals_env.engine.rules.action_space import action_count
from generals_env.engine.simulation.seat_player import SeatPlayer
from generals_env.engine.simulation.seen_board import seen_in_observation
from generals_env.errors import ConfigError
from generals_env.observations.dtypes import to_float32
from generals_env.opponents import POLICIES, POLICY_NAMES, is_builtin, policy_code, remembers
from generals_env.seeding import seed_state

__all__ = ["OPPONENTS", "Opponent"]

OPPONENTS = POLICIES


class Opponent:
    """A built-in policy for one player of one game, with its own random state; its actions are legal.

    ``random`` chooses uniformly among the legal moves. ``expander`` expands its land, captures cities when it can, and attacks
    enemies that it sees. ``hunter`` and ``planner`` (see ``generals_env.opponents.policy_code`` for their levels) remember what
    they saw: make one for each player and call it every turn. They play best on the layout full; of two other players or more
    they see one enemy. A new game is noticed by its turn, and after ``reset``.
    """

    def __init__(self, name: str, seed: int | None = None, touch_turn: int = TOUCH_TURN) -> None:
        """Create the policy.

        Args:
            name: See ``generals_env.opponents.policy_code``.
            seed: Seed of the random state.
            touch_turn: Turn from which a touch of the general wins, with the rules of the competition.

        Raises:
            ConfigError: If the name is unknown, the seed is not a non-negative integer, or ``touch_turn`` is no integer.
        """
        if not is_builtin(name):
            raise ConfigError(f"opponent: expected one of {POLICY_NAMES}, got {name!r}")
        self.name = name
        self._rng = seed_state(seed)
        self._touch_turn = check_integer("touch_turn", touch_turn, 0, MAX_TURNS)
        self._player = SeatPlayer(policy_code(name), int(self._rng[0])) if remembers(name) else None
        self._turn, self._general = -1, -1  # of the last observation, as far as they are known

    def reset(self) -> None:
        """Forget what was seen: the next observation is of a new game. The random state goes on."""
        self._turn, self._general = -1, -1
        if self._player is not None:
            self._player.begin()

    def __call__(self, observation: Mapping[str, Any]) -> int:
        """Return an action.

        Args:
            observation: ``"observation"`` (C, H, W), C = 9 or 21, and ``"action_mask"`` int8 (8*H*W + 1,), with the rules
                of the competition (9*H*W + 1,), as environments return them.

        Raises:
            ConfigError: If ``observation`` is not such a dict.
        """
        try:
            mask = np.ascontiguousarray(observation["action_mask"], np.int8)
            seen = np.asarray(observation["observation"])
            tensor = np.ascontiguousarray(to_float32(seen) if seen.dtype == np.uint8 else seen, np.float32)
            channels, height, width = tensor.shape
            fits = channels in map(len, LAYOUTS.values()) and mask.shape in [
                (action_count(rules, height * width),) for rules in (LIVE_VERSION, COMPETITION_VERSION)
            ]
        except (KeyError, TypeError, ValueError, IndexError):
            fits = False
        if not fits:
            raise ConfigError(
                "observation: expected a dict of observation (9 or 21, H, W) and action_mask (8*H*W + 1,) or (9*H*W + 1,), "
                f"got {observation!r:.200}: pass the observation of one player"
            )
        if self._player is not None:
            return self._remember(self._player, tensor, mask)
        if self.name == "random":
            return int(random_action(mask[: 8 * height * width + 1], self._rng, 0))  # without builds
        return int(expander_action(tensor.reshape(channels, height * width), mask, height, width, self._rng, 0))

    def _remember(self, player: SeatPlayer, tensor: npt.NDArray[np.float32], mask: npt.NDArray[np.int8]) -> int:
        """Return the action of a policy with a memory."""
        tiles = int(tensor[0].size)
        if not tensor[7:9].any():
            return 8 * tiles  # the player's game has ended: it sees nothing
        own_built = np.flatnonzero((tensor[2] > 0) & (tensor[5] > 0))
        begins = tensor[2].sum() == 1 and round(float(tensor[0].max()) * 1000) <= 1  # only a new game has an army of 1
        if begins and self._turn > 1:
            self.reset()
        general = self._general if self._general >= 0 or len(own_built) != 1 else int(own_built[0])
        touch_turn = self._touch_turn if len(mask) > 8 * tiles + 1 else None
        seen = seen_in_observation(tensor, self._turn + 1, general, touch_turn)
        turn, home = int(seen.boards.games["turn"][0]), int(seen.boards.players["general"][0, seen.seat])
        if turn < self._turn or (turn == self._turn and home != self._general):  # two players may trade generals in a turn
            self.reset()
        self._turn, self._general = turn, home
        action = player.choose(seen)
        return action if mask[action] else 8 * tiles
