"""Recognises experiences that a producer sends again, by the highest sequence that each producer has sent."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from generals_env.recorders.experience import ExperienceBatch

__all__ = ["ProducerMarks"]

MAX_RUNS = 2**16  # producers whose marks are kept


class ProducerMarks:
    """Keeps for each producer (``metadata["run"]``) the sequence after its last stored experience; thread-safe.

    A producer numbers its experiences from 0 without gaps and sends them in order, so an experience below the mark has been
    stored before. It takes a few bytes a producer, where hashes of all experiences take some 30 bytes each. The marks of
    the last ``max_runs`` producers are kept. Batches without a run, and those
    whose sequences do not increase, as of a sample, are always new.

    Attributes:
        repeats: Experiences that were recognised as repeats.
    """

    def __init__(self, max_runs: int = MAX_RUNS) -> None:
        """Begin without marks."""
        self.repeats = 0
        self._max_runs = max_runs
        self._marks: OrderedDict[str, int] = OrderedDict()
        self._busy: set[str] = set()  # producers whose batch is being stored
        self._changed = threading.Condition()

    @contextmanager
    def storing(self, batch: ExperienceBatch) -> Iterator[ExperienceBatch]:
        """Yield the experiences of a batch that are new, to be stored in the block; they count as stored if it does not raise.

        Blocks of one producer run one after another.
        """
        run = batch.metadata.get("run")
        if not isinstance(run, str) or (np.diff(batch.sequence) <= 0).any():  # a sample has no order
            yield batch
            return
        with self._changed:
            self._changed.wait_for(lambda: run not in self._busy)
            self._busy.add(run)
            mark = self._marks.get(run, 0)
        try:
            new = batch
            if len(batch) and batch.sequence[0] < mark:
                new = batch.select(batch.sequence >= mark)
            yield new
            self.note(batch)
            self.repeats += len(batch) - len(new)
        finally:
            with self._changed:
                self._busy.discard(run)
                self._changed.notify_all()

    def note(self, batch: ExperienceBatch) -> None:
        """Raise the mark of a producer to a batch of its own sequences that is stored."""
        run = batch.metadata.get("run")
        if isinstance(run, str) and len(batch) and (np.diff(batch.sequence) > 0).all():
            with self._changed:
                self._marks[run] = max(self._marks.get(run, 0), int(batch.sequence[-1]) + 1)
                self._marks.move_to_end(run)
                if len(self._marks) > self._max_runs:
                    self._marks.popitem(last=False)
