"""Batches as they come, cut and put together to one size, with the place in the stream behind each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.batch_kind import BatchKind
from generals_env.recorders.stream.client.position import Position

__all__ = ["rechunked"]


def rechunked(
    parts: Iterator[tuple[ExperienceBatch | None, Position]], size: int
) -> Iterator[tuple[ExperienceBatch, Position]]:
    """Yield batches of ``size`` experiences, the last one smaller, each with the position behind its last experience.

    Where batches cannot be put together (another number of players, another recipe, another stream), one ends early.

    Args:
        parts: Batches, or None, with the position behind each.
        size: Experiences of a batch.
    """
    pool: list[ExperienceBatch] = []
    count = 0
    place: Position | None = None
    for batch, behind in parts:
        if (
            pool
            and place is not None
            and (behind.stream_id != place.stream_id or (batch and not BatchKind.of(batch).joins(BatchKind.of(pool[0]))))
        ):
            yield ExperienceBatch.concat(pool), place
            pool, count = [], 0
        place = behind
        if batch is None:
            continue
        pool.append(batch)
        count += len(batch)
        if count < size:
            continue
        whole = pool[0] if len(pool) == 1 else ExperienceBatch.concat(pool)
        low = 0
        while count - low >= size:
            part = whole.slice(low, low + size).compact()
            low += size
            yield part, place if low == count else replace(place, next_sequence=int(part.sequence[-1]) + 1)
        rest = whole.slice(low, count)
        pool, count = ([rest.compact()] if len(rest) else []), len(rest)
    if pool and place is not None:
        yield ExperienceBatch.concat(pool), place
