"""Measures the load of the CPU between two calls."""

from __future__ import annotations

import importlib
import time
from typing import Any

from generals_env.concurrency.thread_pool import available_cores

__all__ = ["CpuLoad"]


class CpuLoad:
    """Measures the load of the CPU since the last call, 0 to 1: of the machine with psutil, else of this process."""

    def __init__(self) -> None:
        """Begin to measure."""
        try:
            self._psutil: Any = importlib.import_module("psutil")
        except ImportError:  # an extra
            self._psutil = None
        self._times = self._read()

    def __call__(self) -> float:
        """Return the share of the time since the last call in which the cores were busy."""
        (busy, total), (busy_before, total_before) = self._read(), self._times
        self._times = busy, total
        passed = total - total_before
        return min(max((busy - busy_before) / passed, 0.0), 1.0) if passed > 0 else 0.0

    def _read(self) -> tuple[float, float]:
        """Return the busy seconds and all seconds of all cores."""
        if self._psutil is None:
            return time.process_time(), time.monotonic() * available_cores()
        times = self._psutil.cpu_times()
        # Linux counts the time of guests in ``user`` and ``nice``, too.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total - times.idle - getattr(times, "iowait", 0.0), total
