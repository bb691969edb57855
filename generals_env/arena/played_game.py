"""Defines ``PlayedGame``, the result of one game of the arena: what the store keeps and all statistics are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CUT_OFF", "DRAW", "FORFEIT", "WON", "PlayedGame"]

# How a game ended.
WON, DRAW, CUT_OFF, FORFEIT = "won", "draw", "cut_off", "forfeit"


@dataclass(frozen=True)
class PlayedGame:
    """The result of one game.

    Attributes:
        players: Name of the player of each seat.
        winner: Seat that won, -1 for a draw or a game that was cut off.
        ended: ``"won"``, ``"draw"``, ``"cut_off"`` at the turn limit, or ``"forfeit"``, by which ``winner`` wins.
        turns: Turns played.
        board: Name of the kind of games: board size, rules, turn limit. Only games of one kind are compared.
        seed: Seed of the arena's run.
        map: Number of the map within the run: games of one map differ by their seats.
        replay: Path of the replay within the store, empty if none is kept.
        figures: Diagnostics by name, one value a seat; None where there is none, such as a first contact that never came.
    """

    players: tuple[str, ...]
    winner: int
    ended: str
    turns: int
    board: str
    seed: int
    map: int
    replay: str = ""
    figures: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
