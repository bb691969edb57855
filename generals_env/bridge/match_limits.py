"""Defines the limits under which programs play, those of the bot competition by default."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MatchLimits"]


@dataclass(frozen=True)
class MatchLimits:
    """What a program may use.

    Attributes:
        first_move: Seconds from the start of the program to its first reply.
        move: Seconds for each further reply.
        memory: Bytes of memory that the program and its children may hold together.
        faults: Number of late or unreadable replies at which a program forfeits.
    """

    first_move: float = 10.0
    move: float = 0.15
    memory: int = 2 * 2**30
    faults: int = 50
