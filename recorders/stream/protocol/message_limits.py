"""Limits of the messages of the stream."""

from __future__ import annotations

__all__ = ["MOST_EXPERIENCES"]


MOST_EXPERIENCES = 1000  # of a batch that is sent or submitted
