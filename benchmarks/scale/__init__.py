"""Measures and simulates producers, a stream, a buffer and a learner in processes of their own, and computes docs/scale.md."""

from benchmarks.scale.command import main

__all__ = ["main"]
