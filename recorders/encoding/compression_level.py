"""Chooses the level of compression from the load of the CPU, and from the time that encoding and sending take."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from generals_env.arguments import check_flag, check_integer, check_options, is_number
from generals_env.errors import ConfigError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.encoding.cpu_load import CpuLoad

__all__ = [
    "MAX_LEVEL",
    "AdaptiveLevel",
    "CompressionStats",
    "Level",
    "LevelSource",
    "LevelSwitch",
    "check_level",
    "level_now",
    "record_times",
]

MAX_LEVEL = 22  # of zstd

#: Levels between which ``AdaptiveLevel`` switches. On recorded batches levels 2 to 4 save no bytes over 1, nor does 9 over
#: 8; levels above 15 take ten times as long. See the table in docs/storage.md.
STEPS = (1, 6, 8, 11, 15)

#: How many times as long sending must take as encoding before the level rises. No step makes encoding four times as slow, so
#: it is still faster than sending afterwards, and the level does not fall again at once.
RAISE_AT = 4.0

HISTORY = 100  # switches that are remembered

#: Options that ``AdaptiveLevel.change`` takes.
LIVE = ("adaptive", "level", "max_level", "low_cpu", "high_cpu")


@runtime_checkable
class LevelSource(Protocol):
    """Chooses levels, and is told what came of them."""

    @property
    def level(self) -> int:
        """The level for the next data."""

    def record(self, raw_bytes: int, compressed_bytes: int, encode_seconds: float, send_seconds: float) -> None:
        """Note the sizes of data before and after compression, and how long encoding and sending (or writing) took."""


#: A fixed level, or an object that chooses it.
Level: TypeAlias = int | LevelSource


def check_level(name: str, level: Any) -> Any:
    """Return a fixed level or a ``LevelSource``; raise ``ConfigError`` if it is neither."""
    if isinstance(level, (int, np.integer)) and not isinstance(level, bool):
        return check_integer(name, level, 1, MAX_LEVEL)
    if isinstance(level, LevelSource):
        return level
    raise ConfigError(f"{name}: expected an integer from 1 to {MAX_LEVEL} or an AdaptiveLevel, got {level!r:.200}")


def level_now(level: Level) -> int:
    """Return the level for the next data."""
    return level.level if hasattr(level, "level") else level


def record_times(level: Level | None, raw: int, compressed: int, started: float, encoded: float) -> None:
    """Record data of which encoding began at ``started`` and ended at ``encoded``, and that was sent now.

    Args:
        level: A ``LevelSource``; for a fixed level this does nothing.
        raw: Bytes before compression.
        compressed: Bytes after it.
        started: As ``time.perf_counter`` returned it.
        encoded: Likewise.
    """
    if level is not None and not isinstance(level, int):
        level.record(raw, compressed, encoded - started, time.perf_counter() - encoded)


@dataclass(frozen=True)
class LevelSwitch:
    """A change of the level.

    Attributes:
        at: Time of the clock, in seconds.
        level: The new level.
        cpu_load: Load of the CPU, 0 to 1.
        reason: Why it was changed.
    """

    at: float
    level: int
    cpu_load: float
    reason: str


@dataclass(frozen=True)
class CompressionStats:
    """What an ``AdaptiveLevel`` has seen and done.

    Attributes:
        level: The present level.
        raised: How often the level rose.
        lowered: How often it fell.
        raw_bytes: Bytes before compression.
        compressed_bytes: Bytes after it.
        ratio: ``raw_bytes / compressed_bytes``; 1 before anything was compressed.
        encode_seconds: Time that encoding took.
        send_seconds: Time that sending or writing took.
        cpu_load: Load of the CPU when it was last measured, 0 to 1.
    """

    level: int
    raised: int
    lowered: int
    raw_bytes: int
    compressed_bytes: int
    ratio: float
    encode_seconds: float
    send_seconds: float
    cpu_load: float


@pickled_as("generals_env.recorders")
class AdaptiveLevel(NotCopied):
    """Chooses the level of compression for a log, files or a stream; a ``LevelSource``.

    After each ``interval`` it compares the time that encoding took with the time that sending (or writing) took:

    - It rises one step if the CPU is loaded less than ``low_cpu``, and sending took four times as long as encoding or longer:
      the link or disk is the bottleneck, and there is time to compress more.
    - It falls one step if the CPU is loaded more than ``high_cpu``, or encoding took longer than sending.

    Steps are levels 1, 6, 8, 11 and 15 up to ``max_level``, and the level to begin with: those between them take longer, and
    save little or nothing. Give each log, writer and stream an object of its own, as each has another link. It may be used by
    many threads.

    Example:
        >>> level = AdaptiveLevel(max_level=9)
        >>> log = ExperienceLog("log", compression_level=level)  # doctest: +SKIP
        >>> level.stats().ratio
        1.0
    """

    _instead = "make another AdaptiveLevel: each log, writer and stream has its own"

    def __init__(
        self,
        level: int = 1,
        max_level: int = 9,
        low_cpu: float = 0.5,
        high_cpu: float = 0.85,
        *,
        adaptive: bool = True,
        cpu_load: Callable[[], float] | None = None,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin at ``level``.

        Args:
            level: Level to begin with.
            max_level: Maximum level, at least ``level``; without effect where ``adaptive`` is False.
            low_cpu: Load of the CPU, 0 to 1, below which the level may rise.
            high_cpu: Load above which it falls.
            adaptive: False keeps ``level`` until ``change``.
            cpu_load: Returns the load of the CPU since its last call, 0 to 1; that of the machine by default (of this process
                without psutil: ``pip install "generals_env[metrics]"``).
            interval: Seconds between decisions.
            clock: Returns seconds, as ``time.monotonic`` does.

        Raises:
            ConfigError: If an argument has the wrong type or value.
        """
        if not is_number(interval) or not 0 <= interval < float("inf"):
            raise ConfigError(f"interval: expected seconds, 0 or more, got {interval!r}")
        self._options = checked(
            {"adaptive": adaptive, "level": level, "max_level": max_level, "low_cpu": low_cpu, "high_cpu": high_cpu}
        )
        self._level: int = self._options["level"]
        self._cpu_load = CpuLoad() if cpu_load is None else cpu_load
        self._interval, self._clock = float(interval), clock
        self._lock = threading.Lock()
        self._load = 0.0
        self._raised = self._lowered = self._raw = self._compressed = 0
        self._encoding = self._sending = 0.0  # seconds in all
        self._since = (clock(), 0.0, 0.0)  # time of the last decision, and seconds of encoding and sending at that time
        self._history: deque[LevelSwitch] = deque(maxlen=HISTORY)

    @property
    def level(self) -> int:
        """The level for the next data."""
        return self._level

    @property
    def history(self) -> tuple[LevelSwitch, ...]:
        """The last 100 changes of the level, the oldest first."""
        with self._lock:
            return tuple(self._history)

    def stats(self) -> CompressionStats:
        """Return all counts at one moment."""
        with self._lock:
            return CompressionStats(
                level=self._level,
                raised=self._raised,
                lowered=self._lowered,
                raw_bytes=self._raw,
                compressed_bytes=self._compressed,
                ratio=self._raw / self._compressed if self._compressed else 1.0,
                encode_seconds=self._encoding,
                send_seconds=self._sending,
                cpu_load=self._load,
            )

    def change(self, **options: Any) -> None:
        """Change options while it is used.

        Args:
            **options: ``adaptive``, ``level``, ``max_level``, ``low_cpu``, ``high_cpu``. A new ``level`` applies at once, as
                does ``adaptive=False``.

        Raises:
            ConfigError: If a value is invalid. Nothing is changed then.
            OptionError: If an option is unknown or cannot be changed.
        """
        check_options(self.change, options, LIVE)
        with self._lock:
            new = checked(self._options | options)
            starts_over = new["level"] != self._options["level"] or not new["adaptive"]
            self._options = new
            level = new["level"] if starts_over else min(self._level, new["max_level"])
            if level != self._level:
                self._switch(level, "options were changed")

    def record(self, raw_bytes: int, compressed_bytes: int, encode_seconds: float, send_seconds: float) -> None:
        """Note what came of data, and choose the level for the next ones.

        Args:
            raw_bytes: Bytes before compression.
            compressed_bytes: Bytes after it.
            encode_seconds: Time that encoding and compression took.
            send_seconds: Time that sending or writing took.
        """
        with self._lock:
            self._raw += raw_bytes
            self._compressed += compressed_bytes
            self._encoding += encode_seconds
            self._sending += send_seconds
            at, encoding, sending = self._since
            now = self._clock()
            if self._options["adaptive"] and now - at >= self._interval:
                self._since = (now, self._encoding, self._sending)
                self._choose(self._encoding - encoding, self._sending - sending)

    def _choose(self, encoding: float, sending: float) -> None:
        """Choose the level from the seconds of encoding and sending since the last decision."""
        options = self._options
        self._load = load = float(self._cpu_load())
        steps = sorted({options["level"], *(step for step in STEPS if step <= options["max_level"])})
        lower, higher = [step for step in steps if step < self._level], [step for step in steps if step > self._level]
        if load > options["high_cpu"] and lower:
            self._switch(lower[-1], f"the CPU is loaded more than {options['high_cpu']}")
        elif encoding > sending and lower:
            self._switch(lower[-1], "encoding took longer than sending")
        elif load < options["low_cpu"] and sending > RAISE_AT * encoding and higher:
            self._switch(higher[0], "sending took longer than encoding, and the CPU is idle")

    def _switch(self, level: int, reason: str) -> None:
        self._raised += level > self._level
        self._lowered += level < self._level
        self._level = level
        self._history.append(LevelSwitch(self._clock(), level, self._load, reason))


def checked(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with valid values; raise ``ConfigError`` if one is invalid."""
    for name in ("low_cpu", "high_cpu"):
        if not is_number(options[name]) or not 0 <= options[name] <= 1:
            raise ConfigError(f"{name}: expected a number from 0 to 1, got {options[name]!r}")
    if options["low_cpu"] > options["high_cpu"]:
        raise ConfigError(f"low_cpu: expected at most high_cpu, {options['high_cpu']}, got {options['low_cpu']}: lower it")
    adaptive = check_flag("adaptive", options["adaptive"])
    level = check_integer("level", options["level"], 1, MAX_LEVEL)
    return {
        "adaptive": adaptive,
        "level": level,
        "max_level": check_integer("max_level", options["max_level"], level if adaptive else 1, MAX_LEVEL),
        "low_cpu": float(options["low_cpu"]),
        "high_cpu": float(options["high_cpu"]),
    }
