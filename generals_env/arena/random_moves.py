"""Draws actions at random, by map and turn: a game draws the same however it is batched."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["draw", "stir"]

#: Keeps these draws apart from those of the map, which begin at the same state.
OTHER = np.uint64(0xD1B54A32D192ED03)

STEP = 0x9E3779B97F4A7C15
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def stir(
    actions: npt.NDArray[np.int64],
    masks: npt.NDArray[Any],
    states: npt.NDArray[np.uint64],
    number: int,
    share: float,
) -> npt.NDArray[np.int64]:
    """Return actions of which a share is replaced by random legal ones.

    Args:
        actions: (n,) actions.
        masks: (n, A), nonzero for legal actions.
        states: (n,) uint64, a state of each game.
        number: Number of the draw within a game, different for each turn and seat.
        share: Share of moves to replace.
    """
    coins = bits(states, 2 * number)
    chosen = np.flatnonzero(coins < np.uint64(int(share * 2**64) if share < 1 else 2**64 - 1))
    if not len(chosen):
        return actions
    stirred = actions.copy()
    picks = bits(states[chosen], 2 * number + 1)
    for game, pick in zip(chosen.tolist(), picks.tolist(), strict=True):
        legal = np.flatnonzero(masks[game])
        stirred[game] = legal[pick % len(legal)]
    return stirred


def draw(
    probabilities: npt.NDArray[Any], masks: npt.NDArray[Any], states: npt.NDArray[np.uint64], number: int
) -> npt.NDArray[np.int64]:
    """Return actions (n,) drawn from probabilities.

    Args:
        probabilities: (n, A), of which those of illegal actions are ignored.
        masks: (n, A), nonzero for legal actions.
        states: (n,) uint64, a state of each game.
        number: As of ``stir``.
    """
    legal = masks != 0
    weights = np.where(legal, np.nan_to_num(probabilities), 0).astype(np.float64).clip(0)
    weights[weights.sum(axis=1) == 0] = 1.0
    sums = np.cumsum(weights * legal, axis=1)
    aims = (bits(states, 2 * number) >> np.uint64(11)) * 2.0**-53 * sums[:, -1]
    aims = np.minimum(aims, np.nextafter(sums[:, -1], 0))
    chosen: npt.NDArray[np.int64] = (sums <= aims[:, None]).sum(axis=1)
    return chosen


def bits(states: npt.NDArray[np.uint64], number: int) -> npt.NDArray[np.uint64]:
    """Return 64 random bits for each state, by SplitMix64 at a place of its stream."""
    value = (states ^ OTHER) + np.uint64(STEP * (number + 1) % 2**64)
    value = (value ^ (value >> np.uint64(30))) * FIRST
    value = (value ^ (value >> np.uint64(27))) * SECOND
    mixed: npt.NDArray[np.uint64] = value ^ (value >> np.uint64(31))
    return mixed
