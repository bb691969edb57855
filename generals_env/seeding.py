"""Converts seeds of users to states of the random generators of the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import plain
from generals_env.errors import ConfigError

__all__ = ["mixed_seed", "seed_state", "seed_states"]


def seed_state(seed: int | None, boards: int = 1) -> npt.NDArray[np.uint64]:
    """Return (boards,) uint64, each the generator state of ``seed``; None draws a seed from the operating system.

    Raises:
        ConfigError: If the seed is not a non-negative integer.
    """
    number = plain(seed)
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
        got = "a number of many digits" if isinstance(number, int) and abs(number) > 10**20 else repr(seed)
        raise ConfigError(f"seed: expected a non-negative integer or None, got {got}")
    state = np.random.SeedSequence(number).generate_state(1, np.uint64)
    return np.full(boards, state[0], np.uint64)


def seed_states(
    seed: int | Sequence[int | None] | None, count: int, fresh: bool
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Return generator states (count,) uint64, and (count,) bool: the games that get one; all games if ``fresh``.

    Raises:
        ConfigError: If a seed is not a non-negative integer, or the number of seeds is not ``count``.
    """
    seed = plain(seed)
    if seed is None:
        if not fresh:
            return np.zeros(count, np.uint64), np.zeros(count, np.bool_)
        drawn = np.random.SeedSequence().generate_state(count, np.uint64)
        return drawn.astype(np.uint64), np.ones(count, np.bool_)
    if isinstance(seed, (list, tuple, np.ndarray)):
        if len(seed) != count:
            raise ConfigError(
                f"seed: expected one for each of {count} games, got {len(seed)}: pass one integer to seed all games"
            )
        seeds = list(seed)
    else:
        first: Any = seed
        seed_state(first)  # checks it
        seeds = [int(first) + i for i in range(count)]
    states = np.array([seed_state(one)[0] for one in seeds], np.uint64)
    return states, np.array([fresh or one is not None for one in seeds], np.bool_)


def mixed_seed(seed: Any, index: int) -> Any:
    """Return a seed for the process with this index, so that processes that count their seeds from one number share none.

    Index 0 and a seed that is no integer stay as they are.
    """
    number = plain(seed)
    if index == 0 or isinstance(number, bool) or not isinstance(number, int) or number < 0:
        return seed
    return int(np.random.SeedSequence([number, index]).generate_state(1, np.uint64)[0])
