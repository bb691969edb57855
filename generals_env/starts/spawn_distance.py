"""Defines ``SpawnDistance``, the range of steps between generals at the beginning of a game."""

from __future__ import annotations

import dataclasses

from generals_env.arguments import check_integer, make_plain, shown
from generals_env.errors import ConfigError

__all__ = ["SpawnDistance"]

MAX_STEPS = 64 * 64


@dataclasses.dataclass(frozen=True, slots=True)
class SpawnDistance:
    """Range of the walking distance from each general to the nearest other one.

    The walking distance is the number of moves around mountains; cities count as ground.

    Attributes:
        minimum: Minimum number of steps from each general to every other one, at least 1.
        maximum: Maximum number of steps from each general to the nearest other one.
    """

    minimum: int
    maximum: int

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ConfigError: If it is not two integers in ascending order.
        """
        make_plain(self)
        for name in ("minimum", "maximum"):
            check_integer(f"start: {name}", getattr(self, name), 1, MAX_STEPS)
        if self.minimum > self.maximum:
            raise ConfigError(f"start: expected a minimum up to the maximum, got {shown(self)}: swap the two")
