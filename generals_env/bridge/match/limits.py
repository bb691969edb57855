"""Defines the limits under which programs play: those of the competition by default."""

from __future__ import annotations

from dataclasses import dataclass

from generals_env.arguments import is_number
from generals_env.errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Limits of a program in one game.

    Attributes:
        first_move: Seconds for the first reply, the start of the program included.
        move: Seconds for each reply after it.
        faults: Number of faults with which a program forfeits the game.
        memory: Bytes of resident memory of the program and its children.
        ending: Seconds that a program has to end after its input did, before it is killed.
    """

    first_move: float = 10.0
    move: float = 0.15
    faults: int = 50
    memory: int = 2 * 10**9
    ending: float = 1.0

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            ConfigError: If one is not a positive number.
        """
        for name in ("first_move", "move", "faults", "memory", "ending"):
            value = getattr(self, name)
            if not is_number(value) or not 0 < value < float("inf"):
                raise ConfigError(f"{name}: expected a number above 0, got {value!r}")
