"""Defines limits of messages that client and server share."""

from __future__ import annotations

__all__ = ["MAX_EXPERIENCES", "MAX_WAIT_MS"]


MAX_EXPERIENCES = 1000  # maximum number in a batch of records or a submission

MAX_WAIT_MS = 600_000  # maximum time that an incomplete batch waits
