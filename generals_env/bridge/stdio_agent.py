"""Plays the line protocol of the competition with a policy: reads frames from a stream, writes replies to another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from generals_env.agents.shipped import is_shipped, shipped_file
from generals_env.agents.weight_players import load_weight_player, weight_player
from generals_env.bridge.builtin_players import PLAYERS, SplitMix
from generals_env.bridge.competition_actions import from_index
from generals_env.bridge.frame_views import frame_mask, frame_observation
from generals_env.bridge.stdio_protocol import Frame, LineReader, encode_reply, read_frame, read_handshake
from generals_env.errors import ConfigError, StateError

__all__ = ["REMEMBERING", "FramePolicy", "frame_policy", "load_frame_policy", "play_stdio"]

#: Built-in policies with a memory, which an archive does not contain; levels and budgets follow a colon.
REMEMBERING = ("hunter", "planner")

#: Chooses the action index for a frame, from 0 to 9*H*W.
FramePolicy = Callable[[Frame], int]


def load_frame_policy(policy: str, seed: int = 0) -> FramePolicy:
    """Return the policy that a name stands for.

    Args:
        policy: A built-in policy (``hunter`` and ``planner`` need numba); an agent of the package (``trained``); a saved
            network; a file of weights (``.npz``); or ``module:callable``, a policy for batches of observations
            (``opponents.BatchPolicy``). A callable of this kind with an attribute ``channels`` of 21 gets the layout full.
        seed: Seed of the built-in policies, and of networks that draw their actions.

    Raises:
        ConfigError: If there is no such policy, or it does not fit the frames.
        StorageError: If the file cannot be read.
    """
    if policy in PLAYERS:
        rng = SplitMix(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        return lambda frame: PLAYERS[policy](frame, rng)
    if policy.partition(":")[0] in REMEMBERING:
        from generals_env.bridge.remembering_agent import frame_player

        return frame_player(policy, seed)
    path = shipped_file(policy) if is_shipped(policy) else Path(policy)
    if path.suffix == ".npz":
        player = load_weight_player(path, seed=seed)
        return frame_policy(player, player.channels)
    if path.is_file():
        from generals_env.networks.saved_players import load_network_weights

        player = weight_player(load_network_weights(path), seed=seed)
        return frame_policy(player, player.channels)
    if ":" not in policy:
        raise ConfigError(
            f"policy: expected {', '.join((*PLAYERS, *REMEMBERING))}, trained, a checkpoint that exists or module:callable, "
            f"got {policy!r}: check its path"
        )
    from generals_env.bridge.named_objects import load_callable
    from generals_env.opponents import as_policy

    found: Any = load_callable("policy", policy)
    return frame_policy(as_policy(found), getattr(found, "channels", 9))


def frame_policy(policy: Any, channels: int = 9) -> FramePolicy:
    """Return a policy for frames from one for batches of observations.

    Args:
        policy: Maps ``"observation"`` (1, C, H, W) and ``"action_mask"`` (1, 9*H*W + 1) to one action index.
        channels: C: 9 of the layout standard, or 21 of full.

    Raises:
        ConfigError: If ``channels`` is neither.
    """
    if channels not in (9, 21):
        raise ConfigError(
            f"policy: expected 9 or 21 channels, got {channels!r}: use the layout standard or full, and no wrappers"
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
