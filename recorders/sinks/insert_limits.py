"""Defines how many samples a learner draws for each experience: ``InsertLimits``, and the counts that they are applied to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from generals_env.arguments import check_integer, is_number, make_plain
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

__all__ = ["InsertCounts", "InsertLimits"]


@pickled_as("generals_env.recorders")
class InsertCounts(NamedTuple):
    """What all processes have counted together.

    Attributes:
        inserted: Experiences written.
        sampled: Experiences drawn, each one as often as it was drawn.
        wanted: Experiences that may be written beyond the limits, as a learner lacks them.
    """

    inserted: int
    sampled: int
    wanted: int


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class InsertLimits:
    """Bounds on ``balance = samples_per_insert * inserted - sampled``, as of the rate limiter of Reverb.

    The balance begins at 0 and rises to ``samples_per_insert * min_size`` before the first draw. From then on it stays within
    ``error`` of that: above, writers wait for the learner; below, the learner waits for writers. A writer may exceed the upper
    bound by the batch that it writes.

    At least one side may always go on: where a draw of n would fall below the lower bound, the balance is below the upper one
    if ``n <= 2 * error``; larger draws are refused.

    Attributes:
        samples_per_insert: Mean number of draws of each experience.
        min_size: Experiences that are written before the first draw.
        error: How far the balance may be from its middle, in draws; ``None`` for a tenth of the middle, and at least 1,000.
    """

    samples_per_insert: float
    min_size: int = 1
    error: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ConfigError: If one is invalid.
        """
        make_plain(self)
        if not is_number(self.samples_per_insert) or not 0 < self.samples_per_insert < math.inf:
            raise ConfigError(f"samples_per_insert: expected a finite number above 0, got {self.samples_per_insert!r:.80}")
        check_integer("min_size", self.min_size, 1, 2**40)
        if self.error is None:
            object.__setattr__(self, "error", max(1000.0, self.samples_per_insert * self.min_size / 10))
        elif not is_number(self.error) or not 1 <= self.error < math.inf:
            raise ConfigError(f"error: expected a finite number of at least 1, got {self.error!r:.80}: leave it out")

    @property
    def tolerance(self) -> float:
        """The error, which is set."""
        return float(self.error or 0)

    def balance(self, counts: InsertCounts) -> float:
        """Return draws that the experiences have left over from those of the first ``min_size``: 0 in the middle."""
        return self.samples_per_insert * (counts.inserted - self.min_size) - counts.sampled

    def may_insert(self, counts: InsertCounts) -> bool:
        """Return whether a batch may be written."""
        return counts.inserted < self.min_size or counts.wanted > 0 or self.balance(counts) <= self.tolerance

    def may_sample(self, counts: InsertCounts, n: int) -> bool:
        """Return whether n experiences may be drawn."""
        return counts.inserted >= self.min_size and self.balance(counts) - n >= -self.tolerance

    def check_draw(self, n: int) -> None:
        """Raise ``ConfigError`` if draws of n could wait for ever."""
        if n > 2 * self.tolerance:
            raise ConfigError(
                f"error: expected at least {n / 2:g} for draws of {n}, got {self.tolerance:g}: else writers and the learner "
                "could wait for each other"
            )
