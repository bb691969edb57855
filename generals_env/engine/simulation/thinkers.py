"""Asks the policies that remember what they saw, ``Thinker``s, before each turn; the kernel plays the turns between.

They are not compiled into ``run_boards``: what a program does not use is not compiled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from generals_env.engine.policies.codes import EXPANDER, GIVEN, HUNTER, policy_of
from generals_env.engine.simulation.thinker import PlayedBatch, Thinker

__all__ = ["choose_all", "copy_memories", "kernel_codes", "register_thinker", "thinkers_of", "thinks"]

Codes = npt.NDArray[np.int64]


#: Makes the thinker of a policy for a batch, with all its arrays.
Maker = Callable[[PlayedBatch], Thinker]


def make_hunter(batch: PlayedBatch) -> Thinker:
    """Return the thinker of ``HUNTER``."""
    from generals_env.engine.simulation.hunter_thinker import HunterThinker

    return HunterThinker(batch)


MAKERS: dict[int, Maker] = {HUNTER: make_hunter}

#: Held while a thinker is made: the first turns of several threads may want it at once.
MAKING = threading.Lock()


def register_thinker(policy: int, maker: Maker) -> None:
    """Let batches ask a thinker for the policy of this code, in place of an earlier one."""
    MAKERS[policy] = maker


def thinks(policies: Codes) -> bool:
    """Return whether a policy is not one of the kernel's."""
    return max(policies.tolist()) > EXPANDER


def thinkers_of(batch: PlayedBatch, policies: Codes) -> list[Thinker]:
    """Return the thinkers that play ``policies`` (P,), one for each kind of policy; they are made at their first use."""
    kinds = sorted({policy_of(code) for code in policies.tolist() if code > EXPANDER})
    if not all(kind in batch.thinkers for kind in kinds):
        with MAKING:
            for kind in kinds:
                if kind not in batch.thinkers:
                    batch.thinkers[kind] = MAKERS[kind](batch)
    return [batch.thinkers[kind] for kind in kinds]


def kernel_codes(policies: Codes) -> Codes:
    """Return the codes for the kernel: ``GIVEN`` for the seats of thinkers."""
    return np.where(policies > EXPANDER, GIVEN, policies)


def choose_all(batch: PlayedBatch, thinkers: list[Thinker], policies: Codes, low: int, high: int) -> None:
    """Let the thinkers write the actions of their seats in games ``low`` to ``high``."""
    for thinker in thinkers:
        thinker.choose(batch, policies, low, high)


def copy_memories(source: PlayedBatch, target: PlayedBatch, index: Codes) -> None:
    """Let the thinkers of ``target`` remember in game b what those of ``source`` remember in game ``index[b]``."""
    target.outcome.begun[:] = source.outcome.begun[index]
    for kind in [kind for kind in target.thinkers if kind not in source.thinkers]:
        del target.thinkers[kind]
    for kind, thinker in source.thinkers.items():
        if kind not in target.thinkers:
            target.thinkers[kind] = MAKERS[kind](target)
        target.thinkers[kind].continue_games(thinker, index)
