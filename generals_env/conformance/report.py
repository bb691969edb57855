"""Defines what the conformance command reports: the first difference of a game, and a verdict on each game."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["DIFFERS", "EQUAL", "SKIPPED", "UNUSABLE", "Difference", "Verdict"]

EQUAL, DIFFERS, SKIPPED, UNUSABLE = "equal", "differs", "skipped", "unusable"

MAX_SHOWN = 200  # characters of a value in a message


@dataclass(frozen=True)
class Difference:
    """The first value in which an engine differs from a trace.

    Attributes:
        turn: Turns played when the value was compared; 0 is the map.
        what: Name of the value, for example ``"army"``.
        expected: The value in the trace.
        got: The value of the engine.
        tile: Number of the tile, ``row * width + column``; None if the trace tells no tile.
        row: Row of the tile.
        column: Column of the tile.
        player: Player whom the value belongs to, or None.
        note: What else is known about the difference, may be empty.
    """

    turn: int
    what: str
    expected: Any
    got: Any
    tile: int | None = None
    row: int | None = None
    column: int | None = None
    player: int | None = None
    note: str = ""

    def __str__(self) -> str:
        """Return the difference as one line of text."""
        parts = [f"turn {self.turn}"]
        if self.tile is not None:
            parts.append(f"tile {self.tile} (row {self.row}, column {self.column})")
        if self.player is not None:
            parts.append(f"player {self.player}")
        end = f"; {self.note}" if self.note else ""
        return f"{', '.join(parts)}: {self.what}: expected {shown(self.expected)}, got {shown(self.got)}{end}"


@dataclass(frozen=True)
class Verdict:
    """What was found about one game, or about a file without a game.

    Attributes:
        file: Path of the file.
        game: Id or number of the game in the file, may be empty.
        form: Form of the file, for example ``"replay"``.
        status: ``EQUAL``, ``DIFFERS``, ``SKIPPED`` or ``UNUSABLE``.
        turns: Turns that were compared.
        difference: The first difference of a game that differs.
        reason: Why a game was skipped, is unusable, or differs without a value to name.
        not_judged: Parts of the expectation that could not be compared.
    """

    file: str
    game: str
    form: str
    status: str
    turns: int = 0
    difference: Difference | None = None
    reason: str = ""
    not_judged: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict in types of JSON."""
        fields = asdict(self)
        if self.difference is not None:
            fields["difference"] = {name: plain(value) for name, value in asdict(self.difference).items()}
            fields["difference"]["text"] = str(self.difference)
        return fields


def plain(value: Any) -> Any:
    """Return arrays and numbers of numpy as lists and numbers of Python."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def shown(value: Any) -> str:
    """Return a value as text of bounded length."""
    text = repr(plain(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
