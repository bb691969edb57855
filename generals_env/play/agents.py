"""Makes agents that play against a person: built-in policies, checkpoints, programs, and functions of other modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.bridge.named_objects import load_callable
from generals_env.engine.boards import COMPETITION_VERSION
from generals_env.engine.observations.reference import CHANNELS, FULL_CHANNELS
from generals_env.engine.policies.seat_view import view_of_board
from generals_env.errors import ConfigError
from generals_env.opponents import POLICY_NAMES, as_policy, is_builtin
from generals_env.play.situation import Situation
from generals_env.seeding import seed_state
from generals_env.wrappers.builtin_policy import Opponent
from generals_env.wrappers.seat_players import make_seat_player, remembers

__all__ = ["Agent", "make_agent", "shown_name"]

#: Begins the name of an opponent that is a program.
PROGRAM = "stdio:"


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
        """Play by ``name``, see ``wrappers.seat_players.remembers``."""
        self._name = name
        self._player = make_seat_player(name, seed_state(None))

    def begin(self, seed: int) -> None:
        """Begin a new game with a generator and a memory of its own."""
        self._player = make_seat_player(self._name, seed_state(seed))

    def choose(self, situation: Situation) -> int:
        """Return an action."""
        action = self._player.choose(view_of_board(situation.boards, 0, situation.player))
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
        """Do nothing: a policy keeps no state between games."""

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
    return Path(name).name[:40] if Path(name).is_file() else name[:40]


def builtin_agent(name: str) -> Agent:
    """Return the agent of a policy of the engine."""
    return RememberingAgent(name) if remembers(name) else BuiltinAgent(name)


def make_agent(name: str, version: int) -> Agent:
    """Return the agent of an opponent's name.

    Args:
        name: A built-in policy; a file that ``generals-env train`` saved; ``module:callable`` on batches of observations, or
            ``stdio:COMMAND``, a program that speaks the line protocol of the competition.
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
    if Path(name).is_file():
        try:
            from generals_env.recorders.training.network_policy import load_policy
        except ImportError as error:
            raise ConfigError(f"opponent: expected torch for a checkpoint, got none ({error})") from error
        return PolicyAgent(load_policy(name, random_moves=0.02))
    if ":" in name:
        policy = as_policy(load_callable("opponent", name))
        return builtin_agent(policy) if isinstance(policy, str) else PolicyAgent(policy)
    raise ConfigError(
        f"opponent: expected {POLICY_NAMES}, a file of generals-env train, module:callable or stdio:COMMAND, got {name!r}"
    )
