"""Turns experiences of one turn into n-step experiences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from generals_env.arguments import is_number, positive
from generals_env.errors import ConfigError
from generals_env.recorders.experience.data import Data, ExperienceData

__all__ = ["followers", "n_step"]


def followers(batch: ExperienceData) -> npt.NDArray[np.int64]:
    """Return for each experience that of the same player's next turn, (n,) int64; -1 if it is not in the batch."""
    turn = batch.turn
    order = np.lexsort((turn, batch.player_id, batch.game))
    before, after = order[:-1], order[1:]
    same = (batch.game[before] == batch.game[after]) & (batch.player_id[before] == batch.player_id[after])
    same &= (turn[before] + 1 == turn[after]) & ~(batch.terminated | batch.truncated)[before]
    following = np.full(len(batch), -1, np.int64)
    following[before[same]] = after[same]
    return following


def n_step(batch: Data, n: int, gamma: float) -> Data:
    """Return n-step experiences; see ``ExperienceBatch.n_step``."""
    positive("n", n)
    if not is_number(gamma) or not 0 <= gamma <= 1:
        raise ConfigError(f"gamma: expected a number from 0 to 1, got {gamma!r:.80}")
    if (batch.steps != 1).any():
        raise ConfigError(
            f"n_step: expected experiences of one turn, got some of {batch.steps.max()}: call it once, on the recorded batch"
        )
    following = followers(batch)
    last = np.arange(len(batch))
    reward = batch.rewards().astype(np.float64)
    total, steps = reward.copy(), np.ones(len(batch), np.int16)
    for k in range(1, n):
        goes_on = (following[last] >= 0) & (steps == k)
        if not goes_on.any():
            break
        last[goes_on] = following[last[goes_on]]
        total[goes_on] += gamma**k * reward[last[goes_on]]
        steps[goes_on] += 1
    rows = batch.rows.copy()
    rows["reward"], rows["steps"] = total, steps
    for name in ("next_state_index", "terminated", "truncated"):
        rows[name] = batch.rows[name][last]
    dense = replace(batch.dense, after=batch.dense.after[last]) if batch.dense else None
    # The rewards already contain the shaping.
    return replace(batch, rows=rows, dense=dense, recipe=replace(batch.recipe, shaping=()))
