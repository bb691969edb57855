"""Sets the sequences of decoded experiences: their indices in the stream, in place of those that a recorder stored."""

from __future__ import annotations

import numpy as np

from generals_env.recorders.experience import ExperienceBatch

__all__ = ["set_sequences"]


def set_sequences(batch: ExperienceBatch, first: int) -> None:
    """Number the experiences of a batch from ``first`` on, in the batch itself."""
    batch.rows["sequence"] = np.arange(first, first + len(batch))
