"""Writes, reads, verifies and repairs the durable log of experience, in SQLite."""

from __future__ import annotations

from generals_env.recorders.log.chunk_rows import Chunk
from generals_env.recorders.log.experience_log import ExperienceLog
from generals_env.recorders.log.reader import LogReader
from generals_env.recorders.log.verify import LogDamage, LogReport

__all__ = ["Chunk", "ExperienceLog", "LogDamage", "LogReader", "LogReport"]
