"""Measures how often a policy chooses what people chose: ``Accuracy``, ``action_ranks``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'accuracy: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["Accuracy", "Ranks", "action_ranks", "chosen_ranks"]

#: In place of a rank: the action was not chosen by a policy that names only one.
NOT_CHOSEN = 2**30

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ranks:
    """Places of people's actions in the order of a policy, 0 for its first choice.

    Attributes:
        every: (n,) int64, among all legal actions.
        moves: (n,) int64, among the legal moves, without the pass; -1 where people passed.
        ordered: Whether the policy orders all actions; otherwise it names one.
    """

    every: Places
    moves: Places
    ordered: bool = True

    @classmethod
    def joined(cls, parts: Sequence[Ranks]) -> Ranks:
        """Return the ranks of several batches."""
        if not parts:
            raise ConfigError("entries: expected one or more moves to measure, got none: hold out more players")
        every, moves = (np.concatenate([getattr(part, name) for part in parts]) for name in ("every", "moves"))
        return cls(every, moves, all(part.ordered for part in parts))


@dataclass(frozen=True)
class Accuracy:
    """Shares of the entries in which a policy agrees with people; each entry counts the same.

    Attributes:
        entries: Number of entries, passes among them.
        moves: Number of entries in which people moved.
        top1: Share of the entries whose action is the policy's first choice among all legal actions.
        top5: Whose action is among its first five; None for a policy that names one action only.
        moves_top1: As ``top1``, of the entries in which people moved, with the pass taken off the policy's choices.
        moves_top5: As ``top5``, likewise.
    """

    entries: int
    moves: int
    top1: float
    top5: float | None
    moves_top1: float
    moves_top5: float | None

    @classmethod
    def of(cls, ranks: Ranks) -> Accuracy:
        """Return the shares."""
        moved = ranks.moves[ranks.moves >= 0]

        def share(places: Places, first: int) -> float:
            return float((places < first).mean()) if len(places) else float("nan")

        fives = (share(ranks.every, 5), share(moved, 5)) if ranks.ordered else (None, None)
        return cls(len(ranks.every), len(moved), share(ranks.every, 1), fives[0], share(moved, 1), fives[1])


def action_ranks(scores: Tensor, legal: Tensor, actions: Tensor) -> Ranks:
    """Return the places of actions in the order of scores; of equal scores the first action comes first.

    Args:
        scores: (n, A); the pass stands last.
        legal: (n, A) bool.
        actions: (n,) int64.
    """
    places = places_of(scores, legal, actions)
    without = legal.clone()
    without[:, -1] = False
    passed = actions == legal.shape[1] - 1
    moves = torch.where(passed, -1, places_of(scores, without, actions))
    return Ranks(places.cpu().numpy(), moves.cpu().numpy())


def places_of(scores: Tensor, legal: Tensor, actions: Tensor) -> Tensor:
    """Return how many legal actions come before each action, (n,) int64."""
    own = scores.gather(1, actions[:, None])
    order = torch.arange(scores.shape[1], device=scores.device)
    before = (scores > own) | ((scores == own) & (order < actions[:, None]))
    return (before & legal).sum(1)


def chosen_ranks(chosen: Places, actions: Places, passing: int) -> Ranks:
    """Return ranks for a policy that names one action: 0 where it is people's.

    Args:
        chosen: (n,) the policy's actions.
        actions: (n,) people's.
        passing: Index of the pass.
    """
    places = np.where(chosen == actions, 0, NOT_CHOSEN).astype(np.int64)
    return Ranks(places, np.where(actions == passing, -1, places), ordered=False)
