"""Samples the stacks of all threads of this process, to show where it spends its time."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Literal

from generals_env.arguments import check_integer, is_number
from generals_env.errors import ConfigError, StateError

__all__ = ["FORMS", "MAX_SECONDS", "cpu_profile"]

FORMS = ("table", "collapsed")

MAX_SECONDS = 60.0

MAX_HERTZ = 1000

WAITING = "(waiting)"

BUSY_SHARE = 0.1  # of the time between two samples that a thread must run on a processor not to count as waiting

_running = threading.Lock()


def cpu_profile(seconds: float = 5.0, hertz: int = 100, form: Literal["table", "collapsed"] = "table") -> str:
    """Sample all threads but the calling one for some seconds, and return where they were.

    A thread that used no processor since its last sample counts as waiting. That is known on Linux, also for compiled kernels,
    which show as the Python function that called them; elsewhere all samples count as running.

    Args:
        seconds: How long, at most ``MAX_SECONDS``.
        hertz: Samples a second.
        form: ``table``: functions by their samples; or ``collapsed``: a stack and its samples a line, as flamegraph.pl, inferno
            and speedscope read them.

    Raises:
        ConfigError: If an argument is invalid.
        StateError: If a profile of this process runs already.
    """
    if not is_number(seconds) or not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(f"seconds: expected a number above 0, at most {MAX_SECONDS:g}, got {seconds!r}")
    check_integer("hertz", hertz, 1, MAX_HERTZ)
    if form not in FORMS:
        raise ConfigError(f"form: expected {' or '.join(FORMS)}, got {form!r}")
    if not _running.acquire(blocking=False):
        raise StateError("profile: expected one at a time, got a second one: wait until the first one ends")
    try:
        stacks, rounds = _sample(float(seconds), hertz)
    finally:
        _running.release()
    return _collapsed(stacks) if form == "collapsed" else _table(stacks, rounds, float(seconds))


def _sample(seconds: float, hertz: int) -> tuple[Counter[tuple[str, ...]], int]:
    """Return the number of samples of each stack, whose first entry is the thread, and the number of samples of a thread."""
    stacks: Counter[tuple[str, ...]] = Counter()
    names: dict[CodeType, str] = {}
    used: dict[int, tuple[int, int]] = {}  # time of the last sample and processor time until then, by thread
    rounds, begun = 0, time.monotonic()
    end, own = begun + seconds, threading.get_ident()
    while (now := time.monotonic()) < end:
        threads = {thread.ident: thread for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            thread = threads.get(ident)
            if ident == own:
                continue
            stack = _stack(frame, names)
            if thread is not None and thread.native_id is not None and not _is_busy(thread.native_id, used):
                stack = (*stack, WAITING)
            stacks[("unknown thread" if thread is None else thread.name, *stack)] += 1
        rounds += 1
        # The next multiple of the period, not the next one after this sample: a slow sample must not shift all others.
        time.sleep(max(begun + (int((now - begun) * hertz) + 1) / hertz - time.monotonic(), 0.0))
    return stacks, rounds


def _stack(frame: FrameType | None, names: dict[CodeType, str]) -> tuple[str, ...]:
    """Return the functions of a stack, the outermost first."""
    stack = []
    while frame is not None:
        code = frame.f_code
        if code not in names:
            names[code] = f"{Path(code.co_filename).stem}.{code.co_qualname}".replace(";", ",").replace(" ", "_")
        stack.append(names[code])
        frame = frame.f_back
    return tuple(reversed(stack))


def _is_busy(native_id: int, used: dict[int, tuple[int, int]]) -> bool:
    """Return whether a thread ran on a processor since its last sample; True where the system does not tell."""
    try:
        spent = int(Path(f"/proc/self/task/{native_id}/schedstat").read_bytes().split()[0])  # nanoseconds
    except (OSError, IndexError):  # another system, or the thread has ended meanwhile
        return True
    now = time.monotonic_ns()
    before = used.get(native_id)
    used[native_id] = now, spent
    return before is None or spent - before[1] >= BUSY_SHARE * (now - before[0])


def _collapsed(stacks: Counter[tuple[str, ...]]) -> str:
    """Return a line a stack: its functions, and its samples."""
    return "".join(f"{';'.join(stack).replace(' ', '_')} {count}\n" for stack, count in sorted(stacks.items()))


def _table(stacks: Counter[tuple[str, ...]], rounds: int, seconds: float) -> str:
    """Return the functions in which samples were (self), and below which they were (total), and those of each thread."""
    threads: Counter[str] = Counter()
    waiting: Counter[str] = Counter()
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for (thread, *stack), count in stacks.items():
        if stack[-1] == WAITING:
            waiting[thread] += count
            continue
        threads[thread] += count
        own[stack[-1]] += count
        total.update(dict.fromkeys(stack, count))
    busy = max(threads.total(), 1)
    lines = [
        f"{rounds} samples in {seconds:g} s; {threads.total()} of {stacks.total()} thread samples ran, the others waited",
        "",
        "  running   waiting  thread",
        *(f"{threads[name]:9} {waiting[name]:9}  {name}" for name in sorted({*threads, *waiting}, key=lambda n: -threads[n])),
        "",
        "     self     total  function",
        *(f"{own[name] / busy:9.1%} {total[name] / busy:9.1%}  {name}" for name, _ in own.most_common(40)),
    ]
    return "\n".join(lines) + "\n"
