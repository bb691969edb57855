"""Limits of the messages of the stream."""

from __future__ import annotations

__all__ = ["MAX_EXPERIENCES"]


MAX_EXPERIENCES = 1000  # of a batch that is sent or submitted
