"""Rebatches a stream: splits and concatenates batches to one size, and tracks the position after each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.client.position import Position

__all__ = ["rebatch"]


def rebatch(
    received: Iterator[tuple[ExperienceBatch | None, Position]], size: int
) -> Iterator[tuple[ExperienceBatch, Position]]:
    """Yield batches of ``size`` experiences, the last one smaller, each with the position after its last experience.

    Where batches cannot be concatenated (number of players, recipe or stream differ), a smaller batch is yielded.

    Args:
        received: Batches, or None, each with the position after it.
        size: Experiences of a batch.
    """
    pending: list[ExperienceBatch] = []
    count = 0
    position: Position | None = None
    for batch, after in received:
        fits = not pending or not batch or kind_of(batch) == kind_of(pending[0])
        if pending and position is not None and not (fits and after.stream_id == position.stream_id):
            yield ExperienceBatch.concat(pending), position
            pending, count = [], 0
        position = after
        if batch is None:
            continue
        pending.append(batch)
        count += len(batch)
        if count < size:
            continue
        whole = pending[0] if len(pending) == 1 else ExperienceBatch.concat(pending)
        low = 0
        while count - low >= size:
            part = whole.slice(low, low + size).compact()
            low += size
            yield part, position if low == count else replace(position, next_sequence=int(part.sequence[-1]) + 1)
        rest = whole.slice(low, count)
        pending, count = ([rest.compact()] if len(rest) else []), len(rest)
    if pending and position is not None:
        yield ExperienceBatch.concat(pending), position


def kind_of(batch: ExperienceBatch) -> tuple[object, ...]:
    """Return the properties that batches must share to be concatenated."""
    dense = batch.dense and (batch.dense.observations.dtype, batch.state_shape)
    return batch.players, batch.recipe, dense
