"""Plays the line protocol of the competition with a policy: reads frames from a stream, writes replies to another."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from generals_env.bridge.builtin_players import PLAYERS, SplitMix
from generals_env.bridge.competition_actions import from_index
from generals_env.bridge.frame_views import frame_mask, frame_observation
from generals_env.bridge.stdio_protocol import Frame, LineReader, encode_reply, read_frame, read_handshake
from generals_env.errors import ConfigError, StateError

__all__ = ["FramePolicy", "frame_policy", "load_frame_policy", "play_stdio"]

#: Chooses the action index for a frame, from 0 to 9*H*W.
FramePolicy = Callable[[Frame], int]


def load_frame_policy(policy: str, seed: int = 0) -> FramePolicy:
    """Return the policy that a name stands for.

    Args:
        policy: ``random`` or ``expander``; a checkpoint of ``generals-env train``; a file of weights (``.npz``) of an archive;
            or ``module:callable``, a policy for batches of observations (``opponents.BatchPolicy``). A callable of this kind
            with an attribute ``channels`` of 21 gets the layout full.
        seed: Seed of the built-in policies.

    Raises:
        ConfigError: If there is no such policy, or it does not fit the frames.
        StorageError: If the file cannot be read.
    """
    if policy in PLAYERS:
        rng = SplitMix(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        return lambda frame: PLAYERS[policy](frame, rng)
    path = Path(policy)
    if path.suffix == ".npz":
        from generals_env.bridge.numpy_network import NumpyNetwork, load_weights

        return frame_policy(NumpyNetwork(load_weights(path)))
    if path.is_file():
        from generals_env.bridge.checkpoint_weights import checkpoint_weights
        from generals_env.bridge.numpy_network import NumpyNetwork

        return frame_policy(NumpyNetwork(checkpoint_weights(path)))
    return frame_policy(find_callable(policy))


def find_callable(policy: str) -> Any:
    """Return the policy of ``module:callable``; the module may lie in the current folder."""
    module, colon, name = policy.partition(":")
    known = ", ".join(PLAYERS)
    if not colon or not module or not name:
        raise ConfigError(f"policy: expected {known}, a checkpoint that exists or module:callable, got {policy!r}")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"policy: expected {known}, a checkpoint that exists or module:callable, got {policy!r} ({error})"
        ) from error
    from generals_env.opponents import as_policy

    return as_policy(found)


def frame_policy(policy: Any) -> FramePolicy:
    """Return a policy for frames from one for batches of observations.

    Args:
        policy: Maps ``"observation"`` (1, C, H, W) and ``"action_mask"`` (1, 9*H*W + 1) to one action index. C is 9, or 21 if
            its attribute ``channels`` says so.

    Raises:
        ConfigError: If its ``channels`` are neither.
    """
    channels = int(getattr(policy, "channels", 9))
    if channels not in (9, 21):
        raise ConfigError(
            f"policy: expected 9 or 21 channels, got {channels}: use the layout standard or full, and no wrappers"
        )

    def choose(frame: Frame) -> int:
        views = {"observation": frame_observation(frame, channels)[None], "action_mask": frame_mask(frame)[None]}
        return int(np.asarray(policy(views)).reshape(-1)[0])

    return choose


def play_stdio(policy: FramePolicy, lines: LineReader, replies: BinaryIO) -> int:
    """Play a game over two streams until the first one ends; return the number of frames that were answered.

    Raises:
        StateError: If a line is not one of the protocol, or the policy chose an action that does not exist.
    """
    handshake = read_handshake(lines)
    if handshake is None:
        return 0
    _, height, width = handshake
    answered = 0
    while (frame := read_frame(lines, height, width, 2 + answered * (3 * height + 1))) is not None:
        action = policy(frame)
        if not 0 <= action <= 9 * height * width:
            raise StateError(f"policy: expected an action from 0 to {9 * height * width}, got {action}: choose by the mask")
        try:
            replies.write(encode_reply(from_index(action, height, width)))
            replies.flush()
        except BrokenPipeError:
            break  # the other side has ended
        answered += 1
    return answered
