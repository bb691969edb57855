"""Chooses legal actions by the scores of a network: the best one, or one drawn by a single random number a state."""

from __future__ import annotations

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'masked_choice: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["best_legal", "drawn_legal"]

WORST = -1e30  # in place of scores that are not finite


def finite(scores: Tensor) -> Tensor:
    """Return the scores as float32, with -1e30 for those that are not a number or minus infinity, and 1e30 for infinity."""
    return torch.nan_to_num(scores.float(), nan=WORST, posinf=-WORST, neginf=WORST)


def best_legal(scores: Tensor, legal: Tensor) -> Tensor:
    """Return for each state the legal action with the highest score, the first of equals.

    Args:
        scores: (n, A) of any float dtype.
        legal: (n, A) bool, at least one a row.

    Returns:
        (n,) int64.
    """
    return finite(scores).masked_fill(~legal, -torch.inf).argmax(1)


def drawn_legal(scores: Tensor, legal: Tensor, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
    """Return for each state a legal action, drawn with the probabilities softmax(scores / temperature) of the legal ones.

    One number a state decides, so that the draw of a state depends on no other state: states can be evaluated in any batches.

    Args:
        scores: (n, A) of any float dtype.
        legal: (n, A) bool, at least one a row.
        uniforms: (n,) float32 from 0 to below 1, on the device of the scores.
        temperature: Above 0; the lower, the more often the best action.

    Returns:
        (n,) int64.
    """
    shares = (finite(scores) / temperature).masked_fill(~legal, -torch.inf).softmax(1)
    passed = shares.cumsum(1)
    # A rounded sum may stay below the number drawn, and on a GPU it may shrink from one action to the next.
    reached = (passed > uniforms[:, None] * passed[:, -1:]) & (shares > 0)
    best = shares.argmax(1)
    return torch.where(reached.any(1), reached.to(torch.uint8).argmax(1), best)
