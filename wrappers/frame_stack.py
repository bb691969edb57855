"""Implements ``FrameStack``, a wrapper that stacks the last observations along the channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from generals_env.arguments import positive
from generals_env.wrappers.array_transform import ArrayTransform, Env, Flags, Observations, wrapped

__all__ = ["FrameStack"]


class Frames(ArrayTransform):
    """Transform that holds the last observations of each game."""

    name = "FrameStack"

    def __init__(self, env: Any, frames: int) -> None:
        """Allocate the stacks; errors as in ``FrameStack``."""
        super().__init__(env)
        self.frames = positive("frames", frames)
        *lead, self.channels, height, width = self.shape
        shape = (*lead, self.frames * self.channels, height, width)
        self._stack = np.zeros(shape, np.float32)
        self._next = np.zeros(shape, np.float32)  # double buffer of the stacks

    def space(self) -> spaces.Dict:
        """Return the space with the stacked channels."""
        tensors = spaces.Box(0.0, 1.0, self._stack.shape[1:], np.float32)
        return spaces.Dict({"observation": tensors, "action_mask": self.below["action_mask"]})

    def observe(self, seen: Observations, begun: Flags, stepped: bool) -> Observations:
        """Return the stacks with the latest frame."""
        if stepped:
            self._moved(self._stack, seen["observation"], self._next)
            self._stack, self._next = self._next, self._stack
        if begun.any():
            self._stack[begun] = np.concatenate([seen["observation"][begun]] * self.frames, axis=-3)
        stack = self._stack.copy() if self.games.copy else self._stack
        return {"observation": stack, "action_mask": seen["action_mask"]}

    def last(self, rows: npt.NDArray[np.intp], seen: Observations) -> Observations:
        """Return the final stacks of games that ended."""
        old = self._stack[rows]
        return {"observation": self._moved(old, seen["observation"], np.empty_like(old)), "action_mask": seen["action_mask"]}

    def _moved(
        self, stack: npt.NDArray[np.float32], frame: npt.NDArray[np.float32], out: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        return np.concatenate((stack[..., self.channels :, :, :], frame), axis=-3, out=out)


def FrameStack(env: Env, frames: int = 4) -> Env:  # noqa: N802 - named as Gymnasium names wrappers
    """Return ``env`` with the last observations stacked along the channels, oldest first: (..., frames * C, H, W).

    The first observation of a game is repeated, as Gymnasium's ``FrameStackObservation`` does by default. Action masks are not
    stacked. Channels that wrappers below have added, for example ``FogMemory``, are stacked, too.

    Args:
        env: A ``GeneralsVector``, ``GeneralsSingleVector`` or ``GeneralsSingle``, wrapped or not.
        frames: Number of observations.

    Raises:
        ConfigError: If ``env`` is not one of these, or ``frames`` is not a positive integer.
    """
    return wrapped(env, Frames(env, frames), frames=frames)
