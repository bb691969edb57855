"""Defines the batch of experience, and the operations on batches."""

from __future__ import annotations

from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = ["EXPERIENCE", "ExperienceBatch"]
