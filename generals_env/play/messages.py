"""Reads the messages of the page: JSON of a fixed form and size, at a limited rate."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from generals_env.errors import ConfigError

__all__ = ["MAX_BYTES", "Message", "RateLimit", "read_message"]

#: Bytes of a message; the longest that the page sends has 120.
MAX_BYTES = 1024

#: Messages a second in the long run, and at once.
RATE, BURST = 50.0, 100.0

MAX_TILE = 64 * 64 - 1

#: Type and limits of each field of each message: (minimum, maximum) of an integer, the names of a choice, or bool.
FORMS: dict[str, dict[str, Any]] = {
    "start": {},
    "move": {"from": (0, MAX_TILE), "to": (0, MAX_TILE), "half": bool},
    "build": {"tile": (0, MAX_TILE)},
    "undo": {},
    "clear": {},
    "surrender": {},
    "again": {
        "seat": (0, 15),
        "height": (4, 64),
        "width": (4, 64),
        "speed": (1, 50),
        "rules": ("live", "competition", *(f"v{version}" for version in range(3, 19))),
    },
    "take": {},
}


@dataclass(frozen=True)
class Message:
    """A message of the page.

    Attributes:
        kind: One of the names of ``FORMS``.
        values: Its fields; ``again`` may leave some out.
    """

    kind: str
    values: dict[str, Any] = field(default_factory=dict)


def read_message(text: str) -> Message:
    """Return the message in a text.

    Raises:
        ConfigError: If it is too long, no JSON object, or not of a known form.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"message: expected at most {MAX_BYTES} characters, got {len(text)}")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"message: expected JSON, got {text[:80]!r}") from error
    kind = given.pop("do", None) if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in FORMS:
        raise ConfigError(f"message: expected an object with do, one of {', '.join(FORMS)}, got {text[:80]!r}")
    form = FORMS[kind]
    missing = () if kind == "again" else tuple(name for name in form if name not in given)
    if missing or any(name not in form for name in given):
        raise ConfigError(f"message {kind}: expected the fields {', '.join(form) or 'none'}, got {', '.join(given) or 'none'}")
    for name, value in given.items():
        check_value(f"message {kind}, {name}", value, form[name])
    return Message(kind, given)


def check_value(name: str, value: Any, form: Any) -> None:
    """Check one field.

    Raises:
        ConfigError: If it is not of its form.
    """
    if form is bool:
        if not isinstance(value, bool):
            raise ConfigError(f"{name}: expected true or false, got {value!r:.80}")
    elif isinstance(form[0], str):
        if not isinstance(value, str) or value not in form:
            raise ConfigError(f"{name}: expected one of {', '.join(form)}, got {value!r:.80}")
    elif not isinstance(value, int) or isinstance(value, bool) or not form[0] <= value <= form[1]:
        raise ConfigError(f"{name}: expected an integer from {form[0]} to {form[1]}, got {value!r:.80}")


class RateLimit:
    """Tells whether messages come too fast: a bucket that fills with time, from which each message takes one."""

    def __init__(self, now: float, rate: float = RATE, burst: float = BURST) -> None:
        """Begin with a full bucket.

        Args:
            now: Seconds of a clock.
            rate: Messages a second in the long run.
            burst: Messages at once.
        """
        self._rate, self._burst = rate, burst
        self._left, self._last = burst, now

    def allows(self, now: float) -> bool:
        """Count a message at ``now``; return whether it is within the limit."""
        self._left = min(self._left + (now - self._last) * self._rate, self._burst)
        self._last = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
