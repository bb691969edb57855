"""Computes generalised advantage estimates: Schulman et al., "High-Dimensional Continuous Control Using GAE", ICLR 2016."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["advantages"]

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


def advantages(
    rewards: Floats,
    values: Floats,
    ended: Flags,
    bootstrap: Floats,
    last_values: Floats,
    gamma: float,
    gae_lambda: float,
    valid: Flags | None = None,
) -> Floats:
    """Return the advantage of each action, (T, N) float32.

    For an action at t the next value is ``values[t + 1]`` while the episode goes on. Where it ended with this action it is
    ``bootstrap[t]``: 0 after a termination, and the value of the final state, not that of the next episode's first one, after a
    truncation.

    Args:
        rewards: (T, N), of the actions.
        values: (T, N), of the states in which they were taken.
        ended: (T, N), whether the episode ended with the action, terminated or truncated.
        bootstrap: (T, N), the value after the last action of an episode; not read elsewhere.
        last_values: (N,), of the states after the last actions.
        gamma: Discount of a turn.
        gae_lambda: Share of longer returns, 0 to 1.
        valid: (T, N), False for rows that are no action, such as those in which a game is reset; None: all are. No
            advantage crosses them: the row before one that is not valid must have ended, and theirs are 0.
    """
    result = np.zeros_like(rewards)
    following = last_values.astype(np.float32)
    carried = np.zeros_like(following)
    for t in range(len(rewards) - 1, -1, -1):
        going = ~ended[t]
        after = np.where(going, following, bootstrap[t])
        carried = rewards[t] + np.float32(gamma) * after - values[t] + np.float32(gamma * gae_lambda) * going * carried
        if valid is not None:
            carried = np.where(valid[t], carried, np.float32(0))
        result[t] = carried
        following = values[t]
    return result
