"""Collects the faults of settings, so that one error names all of them, a line each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from generals_env.errors import ConfigError

__all__ = ["Fault", "raise_faults"]

MAX_FAULTS = 20  # in one error: more of them have one cause, for example a file of another program
MAX_KEY = 200  # characters of a key


@dataclass(frozen=True)
class Fault:
    """One fault of the settings.

    Attributes:
        origin: Where the value comes from: file and line, environment variable, or option of the command line.
        key: Dotted key, such as ``collection.buffer_size``; empty if the fault is not about one key.
        text: What was expected, what was given, and what to do.
    """

    origin: str
    key: str
    text: str

    def __str__(self) -> str:
        """Return the line of an error; line breaks and control characters of a file are escaped."""
        line = ": ".join(part for part in (self.origin, self.key[:MAX_KEY], self.text) if part)
        return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


def raise_faults(faults: Iterable[Fault]) -> None:
    """Raise one ``ConfigError`` with a line for each fault; return if there are none.

    Raises:
        ConfigError: If there is at least one fault.
    """
    lines = list(dict.fromkeys(str(fault) for fault in faults))
    if len(lines) > MAX_FAULTS:
        lines[MAX_FAULTS:] = [f"and {len(lines) - MAX_FAULTS} more faults: correct these first"]
    if lines:
        raise ConfigError("\n".join(lines))
