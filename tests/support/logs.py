"""Fills logs and lists what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.log import ExperienceLog

PART = 20  # experiences of a batch


def opened(folder: Path, **options: Any) -> ExperienceLog:
    return ExperienceLog(folder, **{"durability": "normal", "min_free_bytes": 0} | options)


def numbers(batches: Iterable[ExperienceBatch]) -> list[int]:
    return [number for batch in batches for number in batch.sequence.tolist()]


def numbered(batch: ExperienceBatch, first: int) -> ExperienceBatch:
    """Return a batch with the numbers that a log gives it."""
    rows = batch.rows.copy()
    rows["sequence"] = np.arange(first, first + len(batch))
    return replace(batch, rows=rows)


def fill(log: ExperienceLog, parts: list[ExperienceBatch], count: int) -> int:
    """Write ``count`` batches and return the last number."""
    return [log.write(parts[k % len(parts)]) for k in range(count)][-1]


def segments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("segment_*.db"))
