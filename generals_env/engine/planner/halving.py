"""Finds the best of several plans by sequential halving: every round drops the worse half, the rest meets further guesses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["best_of"]

#: Returns (n,) float64, the value of each pair of a plan (n,) and a guess (n,).
Evaluate = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float64]]


def best_of(count: int, guesses: npt.NDArray[np.int64], budget: int, margin: float, evaluate: Evaluate) -> int:
    """Return the plan with the best mean, plan 0 unless it is clearly worse than that.

    All plans of a round meet the same guesses: differences to plan 0 have less noise than the values.

    Args:
        count: Number of plans; those that the budget cannot try on two guesses are left out, the last ones first.
        guesses: Numbers of the guesses in the order of use; a single one is certain.
        budget: Pairs that may be evaluated.
        margin: Standard errors of the mean difference to plan 0 by which a plan must be better.
        evaluate: Plays the pairs.
    """
    count = min(count, budget // min(len(guesses), 2))
    if count < 2:
        return 0
    left = np.arange(count)
    values = np.full((count, int(guesses.max()) + 1), np.nan)
    rounds = int(np.ceil(np.log2(count)))
    done = 0
    for number in range(rounds):
        share = budget // (rounds - number)
        more = min(max(share // len(left), 1), len(guesses) - done, budget // len(left))
        if more == 0:
            break
        fresh = guesses[done : done + more]
        pairs = np.repeat(left, more), np.tile(fresh, len(left))
        values[pairs] = evaluate(*pairs)
        budget -= len(pairs[0])
        done += more
        means = values[left][:, guesses[:done]].mean(axis=1)
        keep = left[np.argsort(-means, kind="stable")[: max((len(left) + 1) // 2, 2)]]
        left = keep if 0 in keep else np.append(keep[:-1], 0)
    met = values[:, guesses[:done]]
    means = met[left].mean(axis=1)
    best = int(left[np.argmax(means)])
    gain = met[best] - met[0]
    error = gain.std(ddof=1) / np.sqrt(done) if done > 1 else (np.inf if len(guesses) > 1 else 0.0)
    return best if gain.mean() > margin * error else 0
