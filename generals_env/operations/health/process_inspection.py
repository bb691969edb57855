"""Describes this process for a person who looks for a fault: stacks, allocations, buffers and cursors.

All functions return text, and take plain arguments, so that a supervisor can ask a worker for them by name.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any

from generals_env.arguments import check_integer, is_number
from generals_env.errors import ConfigError, GeneralsError, StateError
from generals_env.operations.health.cpu_profile import MAX_SECONDS, cpu_profile
from generals_env.recorders.log import ExperienceLog

__all__ = ["INSPECTIONS", "buffer_and_cursor_state", "inspect_process", "thread_stacks", "top_allocations"]

MIB = 2**20

_tracing = threading.Lock()


def thread_stacks() -> str:
    """Return the stack of each thread, the innermost call last, as ``faulthandler`` and goroutine dumps do."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    parts = []
    for ident, frame in sys._current_frames().items():
        thread = threads.get(ident)
        title = f"thread {ident} not started by Python"
        if thread is not None:
            title = f"{thread.name} (native id {thread.native_id}{', daemon' if thread.daemon else ''})"
        parts.append(f"{title}\n{''.join(traceback.format_stack(frame))}")
    return f"{len(parts)} threads\n\n" + "\n".join(parts)


def top_allocations(count: int = 25, seconds: float = 5.0) -> str:
    """Return the lines of code that hold most memory, of all that was allocated while ``tracemalloc`` traced.

    Unless it traces already, as with ``PYTHONTRACEMALLOC=1``, it is started for some seconds and stopped afterwards, so only
    memory that was allocated in these seconds and is still held is seen. Tracing makes Python about twice as slow meanwhile.
    Arrays of numpy are seen; memory of compiled kernels and of C libraries is not.

    Args:
        count: Number of lines.
        seconds: How long to trace, at most ``MAX_SECONDS``; not used if tracing runs already.

    Raises:
        ConfigError: If an argument is invalid.
        StateError: If this was called meanwhile.
    """
    count = check_integer("count", count, 1, 1000)
    if not is_number(seconds) or not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(f"seconds: expected a number above 0, at most {MAX_SECONDS:g}, got {seconds!r}")
    if not _tracing.acquire(blocking=False):
        raise StateError("allocations: expected one call at a time, got a second one: wait until the first one ends")
    try:
        always = tracemalloc.is_tracing()
        if not always:
            tracemalloc.start()
            time.sleep(float(seconds))
        snapshot = tracemalloc.take_snapshot()
        (held, peak), cost = tracemalloc.get_traced_memory(), tracemalloc.get_tracemalloc_memory()
        if not always:
            tracemalloc.stop()
    finally:
        _tracing.release()
    statistics = snapshot.filter_traces((tracemalloc.Filter(False, tracemalloc.__file__),)).statistics("lineno")
    since = "since tracing was started with the process" if always else f"in {seconds:g} s, and still held"
    lines = [
        f"{held / MIB:.1f} MiB allocated {since}; maximum {peak / MIB:.1f} MiB",
        f"cost of tracing: {cost / MIB:.1f} MiB, and about half of the speed of Python while it runs",
        "",
        "      MiB    blocks  line",
    ]
    for entry in statistics[:count]:
        place = entry.traceback[0]
        lines.append(f"{entry.size / MIB:9.2f} {entry.count:9}  {place.filename}:{place.lineno}")
    return "\n".join(lines) + "\n"


def buffer_and_cursor_state(parts: Mapping[str, Any]) -> str:
    """Return the state of buffers, streams, logs and writers as JSON.

    Args:
        parts: By name: a part with ``stats()``, an ``ExperienceLog``, a server with ``streams``, values (tuples with names,
            dataclasses, mappings, lists, numbers), or a function that returns one of these. A part whose state cannot be read
            gets its error as ``{"error": ...}``.
    """
    return json.dumps({name: _state_or_error(part) for name, part in parts.items()}, indent=2, default=_plain) + "\n"


def _state_or_error(part: Any) -> Any:
    """Return the state of a part, or why it cannot be read."""
    try:
        return _state(part)
    except (GeneralsError, OSError) as error:  # the other parts must be shown
        return {"error": str(error)}


def _state(part: Any) -> Any:
    """Return the state of a part as values of JSON."""
    if isinstance(part, ExperienceLog):
        return _log_state(part)
    if hasattr(part, "stats"):
        return _state(part.stats())
    if hasattr(part, "streams"):
        return _state(part.streams)
    if hasattr(part, "_asdict"):
        return _state(part._asdict())
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        return _state(dataclasses.asdict(part))
    if callable(part):
        return _state(part())
    if isinstance(part, Mapping):
        return {str(name): _state(value) for name, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [_state(value) for value in part]
    return part


def _log_state(log: ExperienceLog) -> dict[str, Any]:
    """Return the span of a log, and how far its consumers are."""
    first, last = log.first, log.last
    consumers = {
        name: {"position": position, "lag": max(last - position, 0)} for name, position in sorted(log.consumers().items())
    }
    return {"folder": str(log.folder), "first": first, "last": last, "consumers": consumers}


def _plain(value: Any) -> Any:
    """Return a value that JSON does not know as one that it knows: numpy's numbers, paths."""
    return value.item() if hasattr(value, "item") else str(value)


#: The functions that ``inspect_process`` calls.
INSPECTIONS: dict[str, Callable[..., str]] = {
    "thread_stacks": thread_stacks,
    "top_allocations": top_allocations,
    "cpu_profile": cpu_profile,
    "buffer_and_cursor_state": buffer_and_cursor_state,
}


def inspect_process(name: str, arguments: Mapping[str, Any], parts: Mapping[str, Any] | None = None) -> str:
    """Call an inspection of this process by its name.

    Args:
        name: A key of ``INSPECTIONS``.
        arguments: Its arguments.
        parts: The parts of this process for ``buffer_and_cursor_state``.

    Raises:
        ConfigError: If the name or an argument is invalid.
        StateError: If the inspection runs already.
    """
    if name not in INSPECTIONS:
        raise ConfigError(f"name: expected one of {', '.join(INSPECTIONS)}, got {name!r}")
    if name == "buffer_and_cursor_state":
        return buffer_and_cursor_state(parts or {})
    return INSPECTIONS[name](**arguments)
