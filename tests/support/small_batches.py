"""Records games in small batches, and computes memory limits that hold a number of them."""

from __future__ import annotations

from typing import Any

import numpy as np

import generals_env
from generals_env.recorders import ExperienceBatch, ExperienceRecorder
from support.helpers import Memory, course_of

PART = 60  # experiences of a batch


def recorded(**options: Any) -> list[ExperienceBatch]:
    """Return the experience of some games in small batches."""
    batches = Memory()
    env = ExperienceRecorder(generals_env.parallel_env(max_turns=100, **options), batches, run_id="run")
    for seed in range(4):
        course_of(env, seed, turns=100)
    env.close()
    return [
        batch.select(np.arange(low, min(low + PART, len(batch)))) for batch in batches for low in range(0, len(batch), PART)
    ]


def budget(parts: list[ExperienceBatch], batches: float) -> int:
    """Return the bytes of so many of the largest batch."""
    return int(max(batch.nbytes for batch in parts) * batches)
