"""Handles signals, threads and processes: deferred signals, thread guards, process owners and the thread pool."""

from __future__ import annotations

from generals_env.concurrency.interrupts import deferred

__all__ = ["deferred"]
