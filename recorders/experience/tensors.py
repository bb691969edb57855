"""Defines the arrays that a learner takes: states, actions, rewards, masks and flags."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.pickling import pickled_as
from generals_env.recorders.experience.recipe import Recipe

__all__ = ["Tensors"]


@pickled_as("generals_env.recorders")
class Tensors(NamedTuple):
    """Arrays of n experiences.

    Attributes:
        states: (n, C, H, W) float32 or float16.
        actions: (n,) int64.
        rewards: (n,) float32.
        next_states: (n, C, H, W), as ``states``.
        terminated: (n,) bool.
        truncated: (n,) bool.
        action_masks: (n, A) int8, A = 8*H*W + 1, with the rules of the competition 9*H*W + 1.
        next_action_masks: (n, A) int8.
        steps: (n,) int16, turns between state and next state.
    """

    states: npt.NDArray[Any]
    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    next_states: npt.NDArray[Any]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    action_masks: npt.NDArray[np.int8]
    next_action_masks: npt.NDArray[np.int8]
    steps: npt.NDArray[np.int16]

    @classmethod
    def empty(
        cls,
        count: int,
        state_shape: tuple[int, ...],
        shape: tuple[int, int],
        dtype: npt.DTypeLike = np.float32,
        pinned: bool = False,
        builds: bool = False,
    ) -> Tensors:
        """Return uninitialized arrays for ``count`` experiences.

        Args:
            count: Number of experiences.
            state_shape: Of one state, for example (9, 20, 20).
            shape: H and W.
            dtype: Of the states, float32 or float16.
            pinned: Whether to allocate page-locked memory, which a GPU reads directly: ``torch.from_numpy(array).to(device,
                non_blocking=True)`` then copies beside other work. Needs torch and a GPU.
            builds: Whether the experiences are of games with the rules of the competition: ``batch.recipe.builds``.
        """
        actions = Recipe(builds=builds).actions(shape)
        kinds: tuple[tuple[tuple[int, ...], Any], ...] = (
            ((count, *state_shape), dtype),
            ((count,), np.int64),
            ((count,), np.float32),
            ((count, *state_shape), dtype),
            ((count,), np.bool_),
            ((count,), np.bool_),
            ((count, actions), np.int8),
            ((count, actions), np.int8),
            ((count,), np.int16),
        )
        if not pinned:
            return cls(*(np.empty(room, kind) for room, kind in kinds))
        import torch

        names = {np.dtype(kind): getattr(torch, np.dtype(kind).name) for _, kind in kinds}
        return cls(*(torch.empty(room, dtype=names[np.dtype(kind)], pin_memory=True).numpy() for room, kind in kinds))
