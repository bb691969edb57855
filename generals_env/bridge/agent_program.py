"""Plays the line protocol of the competition on stdin and stdout: ``python -m generals_env.bridge.agent_program expander``.

It imports as little as it can, and works without a cache of compiled kernels: with ``NUMBA_DISABLE_JIT=1`` it compiles nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from generals_env.bridge.believed_board import observation_of
from generals_env.bridge.competition_actions import from_index
from generals_env.bridge.stdio_protocol import Frame, Seat, encode_reply, read_frame, read_handshake
from generals_env.engine.observations.reference import CHANNELS, FULL_CHANNELS
from generals_env.errors import ConfigError, GeneralsError
from generals_env.opponents import POLICIES, as_policy

__all__ = ["Actor", "load_actor", "play"]

#: Chooses an action index from an observation of the full layout, as ``observation_of`` returns it.
Actor = Callable[[dict[str, Any]], int]


def load_actor(name: str, seed: int | None = None) -> Actor:
    """Return the function that plays by a policy.

    Args:
        name: A built-in policy, a file that ``generals-env train`` saved, or ``module:callable`` on batches of observations;
            its attribute ``channels``, 9 or 21, tells the layout that it takes, 9 without it.
        seed: Of the random numbers of built-in policies; None for a random one.

    Raises:
        ConfigError: If there is no such policy, or it takes other observations.
        StorageError: If the file cannot be loaded.
    """
    if name in POLICIES:
        from generals_env.wrappers.builtin_policy import Opponent

        return Opponent(name, seed)
    if Path(name).is_file():
        from generals_env.recorders.training.network_policy import load_policy

        policy: Any = load_policy(name)
    else:
        policy = as_policy(imported(name))
    channels = getattr(policy, "channels", len(CHANNELS))
    if channels not in (len(CHANNELS), len(FULL_CHANNELS)):
        raise ConfigError(
            f"policy: expected 9 or 21 channels, got {channels}: policies that take several frames cannot play here"
        )

    def act(observation: dict[str, Any]) -> int:
        views = {"observation": observation["observation"][None, :channels], "action_mask": observation["action_mask"][None]}
        return int(np.asarray(policy(views)).ravel()[0])

    return act


def imported(name: str) -> Any:
    """Return the callable that ``module:callable`` names; modules in the current folder are found, too.

    Raises:
        ConfigError: If there is none.
    """
    module, _, attribute = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"policy: expected {', '.join(POLICIES)}, the file of a checkpoint, or module:callable, got {name!r} ({error})"
        ) from error
    if not callable(found):
        raise ConfigError(f"policy: expected a callable, got {found!r:.100} from {name!r}")
    return found


def play(actor: Actor, source: IO[bytes], target: IO[bytes]) -> int:
    """Play one game until the input ends; return the number of turns.

    Raises:
        ReplayError: If the input is not the protocol.
    """
    seat = read_handshake(source.readline)
    turns = 0
    while (frame := read_frame(source.readline, seat)) is not None:
        target.write(encode_reply(reply(actor, frame, seat)))
        target.flush()
        turns += 1
    return turns


def reply(actor: Actor, frame: Frame, seat: Seat) -> tuple[int, int, int, int, int]:
    """Return the five numbers of the action that ``actor`` chooses."""
    return from_index(actor(observation_of(frame, seat)), seat.height, seat.width)


def main() -> None:
    """Play by the policy that the first argument names; everything that other code prints goes to stderr."""
    target = sys.stdout.buffer
    sys.stdout = sys.stderr
    if len(sys.argv) != 2:
        sys.exit("usage: python -m generals_env.bridge.agent_program POLICY")
    try:
        play(load_actor(sys.argv[1]), sys.stdin.buffer, target)
    except GeneralsError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        sys.exit(1)


if __name__ == "__main__":
    main()
