"""Signals, threads and processes: what must change whole, and which thread and process may change it."""

from __future__ import annotations

from generals_env.concurrency.interrupts import deferred

__all__ = ["deferred"]
