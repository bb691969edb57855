"""Makes agents that play against a person: built-in policies, checkpoints, programs, and functions of other modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.bridge.batch_policies import PROGRAM, is_file, load_batch_policy
from generals_env.engine.boards import COMPETITION_VERSION
from generals_env.engine.observations.reference import CHANNELS, FULL_CHANNELS
from generals_env.engine.simulation.seat_player import SeatPlayer
from generals_env.engine.simulation.seen_board import SeenBoard, codes_of_board
from generals_env.errors import ConfigError
from generals_env.opponents import is_builtin, policy_code, remembers
from generals_env.play.situation import Situation
from generals_env.seeding import seed_state
from generals_env.wrappers.builtin_policy import Opponent

__all__ = ["Agent", "make_agent", "shown_name"]

#: Share of the moves of a Q-network that are random legal ones; a policy network draws its moves.
RANDOM_MOVES = 0.02


class Agent(Protocol):
    """Chooses actions for one seat."""

    def begin(self, seed: int) -> None:
        """Begin a new game."""

    def choose(self, situation: Situation) -> int:
        """Return an action index; it may raise any exception."""

    def close(self) -> None:
        """End what the agent started."""


class BuiltinAgent:
    """A policy of the engine."""

    def __init__(self, name: str) -> None:
        """Play by ``name``, see ``opponents.policy_code``."""
        self._name = name
        self._policy = Opponent(name)

    def begin(self, seed: int) -> None:
        """Begin a new game with a generator of its own."""
        self._policy = Opponent(self._name, seed)

    def choose(self, situation: Situation) -> int:
        """Return an action."""
        return self._policy({"observation": situation.tensor, "action_mask": situation.mask})

    def close(self) -> None:
        """Do nothing."""


class RememberingAgent:
    """A policy of the engine that remembers what its seat saw."""

    def __init__(self, name: str) -> None:
        """Play by ``name``, see ``opponents.remembers``."""
        self._code = policy_code(name)
        self._player = SeatPlayer(self._code, int(seed_state(None)[0]))

    def begin(self, seed: int) -> None:
        """Begin a new game with a generator and a memory of its own."""
        self._player = SeatPlayer(self._code, int(seed_state(seed)[0]))

    def choose(self, situation: Situation) -> int:
        """Return an action."""
        codes = codes_of_board(situation.boards, 0, situation.player)
        action = self._player.choose(SeenBoard(situation.boards, codes, situation.player))
        return action if situation.mask[action] else 8 * situation.tensor[0].size

    def close(self) -> None:
        """Do nothing."""


class PolicyAgent:
    """A function on batches of observations: a network, a model, or a callable of another module."""

    def __init__(self, policy: Callable[[dict[str, npt.NDArray[Any]]], Any]) -> None:
        """Play by ``policy``; its attribute ``channels``, 9 or 21, tells the layout that it takes, 9 without it."""
        self._policy = policy
        self._channels = getattr(policy, "channels", len(CHANNELS))
        if self._channels not in (len(CHANNELS), len(FULL_CHANNELS)):
            raise ConfigError(
                f"opponent: expected a policy of {len(CHANNELS)} or {len(FULL_CHANNELS)} channels, got one of "
                f"{self._channels}: policies that take several frames cannot play here"
            )

    def begin(self, seed: int) -> None:
        """Begin the draws of a policy anew, if it has any: it keeps no other state between games."""
        reseed = getattr(self._policy, "reseed", None)
        if reseed is not None:
            reseed(seed)

    def choose(self, situation: Situation) -> int:
        """Return an action.

        Raises:
            ConfigError: If the policy returns no index of an action.
        """
        views: dict[str, npt.NDArray[Any]] = {
            "observation": situation.tensor[None, : self._channels],
            "action_mask": situation.mask[None],
        }
        chosen = np.asarray(self._policy(views))
        if chosen.size != 1 or not np.issubdtype(chosen.dtype, np.integer):
            raise ConfigError(f"opponent: expected one action index, got {chosen!r:.100}: return an array (1,) of integers")
        return int(chosen.reshape(()) if chosen.ndim == 0 else chosen.ravel()[0])

    def close(self) -> None:
        """Do nothing."""


def shown_name(name: str) -> str:
    """Return the name of an opponent as the page and replays show it: without folders, of limited length."""
    if name.startswith(PROGRAM):
        return name.removeprefix(PROGRAM).strip()[:40]
    return Path(name).name[:40] if is_file(name) else name[:40]


def builtin_agent(name: str) -> Agent:
    """Return the agent of a policy of the engine."""
    return RememberingAgent(name) if remembers(name) else BuiltinAgent(name)


def make_agent(name: str, version: int) -> Agent:
    """Return the agent of an opponent's name.

    Args:
        name: A built-in policy; an agent of the package (``trained``); a saved network; ``module:callable`` on batches of
            observations, or ``stdio:COMMAND``, a program that speaks the line protocol of the competition.
        version: Of the rules, see ``engine.boards.GAME``.

    Raises:
        ConfigError: If there is no such opponent, or it cannot play by these rules.
        StorageError: If the file cannot be loaded.
    """
    if is_builtin(name):
        return builtin_agent(name)
    if name.startswith(PROGRAM):
        if version != COMPETITION_VERSION:
            raise ConfigError(f"opponent: expected --rules competition for a program, got {name!r} with other rules")
        from generals_env.play.program_agent import ProgramAgent

        return ProgramAgent(name.removeprefix(PROGRAM))
    policy = load_batch_policy("opponent", name, random_moves=RANDOM_MOVES)
    return builtin_agent(policy) if isinstance(policy, str) else PolicyAgent(policy)
