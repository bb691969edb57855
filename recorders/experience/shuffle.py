"""Shuffles the experiences of many batches, and yields them in batches of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from generals_env.recorders.experience.batch import ExperienceBatch

__all__ = ["shuffled_batches", "take_rows"]


def shuffled_batches(
    batches: Iterable[ExperienceBatch],
    batch_size: int,
    shuffle_buffer: int,
    rng: np.random.Generator,
    shape: tuple[int, int] | None = None,
) -> Iterator[ExperienceBatch]:
    """Yield all experiences in batches of ``batch_size``, the last one smaller.

    Args:
        batches: The batches.
        batch_size: Experiences of a yielded batch.
        shuffle_buffer: How many experiences are shuffled together; 0 keeps their order.
        rng: Draws the order.
        shape: H and W of all boards, padding included; None for the largest of the batches.

    Yields:
        Batches that share their boards: ``compact`` copies those that a batch needs.

    Raises:
        ConfigError: If batches differ in the number of players or the recipe, or do not fit into ``shape``.
    """
    pool: ExperienceBatch | None = None
    for batch in batches:
        part = batch if shape is None else batch.padded(*shape)
        pool = part if pool is None or not len(pool) else ExperienceBatch.concat([pool.compact(), part])
        if len(pool) < max(shuffle_buffer, batch_size):
            continue
        if shuffle_buffer:
            pool = take_rows(pool, rng.permutation(len(pool)))
        # Half of them stay to be shuffled with the next batches: so each is copied about twice.
        whole = (len(pool) - shuffle_buffer // 2) // batch_size * batch_size
        yield from parts(pool, batch_size, whole)
        pool = pool.slice(whole, len(pool))
    if pool is not None:
        yield from parts(take_rows(pool, rng.permutation(len(pool))) if shuffle_buffer else pool, batch_size, len(pool))


def parts(pool: ExperienceBatch, batch_size: int, count: int) -> Iterator[ExperienceBatch]:
    """Yield the first ``count`` experiences in batches."""
    for low in range(0, count, batch_size):
        yield pool.slice(low, min(low + batch_size, count))


def take_rows(batch: ExperienceBatch, index: Any) -> ExperienceBatch:
    """Return the experiences at ``index`` (n,); boards are shared, not copied."""
    return replace(batch, rows=batch.rows[index], dense=batch.dense.rows(index) if batch.dense else None)
