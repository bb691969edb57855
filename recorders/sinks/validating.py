"""A sink that lets only sound experience pass, and counts why other experience was not."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import Any

import numpy as np

from generals_env.arguments import check_flag
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.experience.validation import Reason, Validation, validate

__all__ = [
    "ValidatingSink",
    "Validator",
]

MAX_SOURCES = 65536  # whose last sequence number is remembered


@pickled_as("generals_env.recorders")
class Validator:
    """Checks batches, and their sequence numbers across batches.

    A recorder counts its experiences without gaps. Its batches are known by ``metadata["run"]``; all without that are one
    source. The first experience of a source may have any number, each after that has to have a higher one. So a validator
    belongs where batches come as they were recorded: behind sampling, merging or a server that many write to, turn
    ``sequences`` off.
    """

    def __init__(self, sequences: bool = True) -> None:
        """Remember no source yet.

        Args:
            sequences: Whether to check sequence numbers.

        Raises:
            ConfigError: If ``sequences`` is no bool.
        """
        self.sequences = check_flag("sequences", sequences)
        self._last: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle what is remembered, not the lock."""
        with self._lock:
            return {"sequences": self.sequences, "_last": self._last.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what ``__getstate__`` gave."""
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def check(self, batch: ExperienceBatch) -> Validation:
        """Return what is wrong with the experiences of a batch; nothing is remembered before ``accept``."""
        reasons = validate(batch).reasons
        if not self.sequences or not len(batch):
            return Validation(reasons)
        numbers = batch.sequence
        with self._lock:
            last = self._last.get(source_of(batch), max(int(numbers[0]), 0) - 1)  # below 0 there are none
        highest = np.maximum.accumulate(np.concatenate([[last], numbers]))
        repeated = numbers <= highest[:-1]
        reasons[repeated & (reasons == Reason.FINE)] = Reason.SEQUENCE_REPEAT
        missing = int((numbers - highest[:-1] - 1)[~repeated].sum())
        return Validation(reasons, missing, int(highest[-1]))

    def accept(self, batch: ExperienceBatch, validation: Validation) -> None:
        """Remember the sequence numbers of a batch that was checked."""
        if validation.last is None:
            return
        with self._lock:
            self._last[source_of(batch)] = validation.last
            self._last.move_to_end(source_of(batch))
            if len(self._last) > MAX_SOURCES:
                self._last.popitem(last=False)


def source_of(batch: ExperienceBatch) -> str:
    """Return what the recorder of a batch is known by."""
    return str(batch.metadata.get("run", ""))


@pickled_as("generals_env.recorders")
class ValidatingSink(NotCopied):
    """Hands on sound experience, and counts the rest by reason.

    A batch that the next sink refuses (it raises) changes nothing: it may come again. Any number of threads may write, one
    after another.
    """

    _instead = "make another ValidatingSink of a sink of its own; Validators can be copied"

    def __init__(self, sink: Sink, validator: Validator | None = None, on_invalid: str = "drop") -> None:
        """Hand on to ``sink``.

        Args:
            sink: Where to.
            validator: What to check with; a new one without.
            on_invalid: ``"drop"`` hands on the other experiences of a batch, ``"raise"`` none of it.

        Raises:
            ConfigError: If an argument is not what it should be.
        """
        if not isinstance(sink, Sink):
            raise ConfigError(f"sink: expected an object with write, flush and close, got {sink!r}")
        if validator is not None and not isinstance(validator, Validator):
            raise ConfigError(f"validator: expected a Validator, got {validator!r}")
        if on_invalid not in ("drop", "raise"):
            raise ConfigError(f"on_invalid: expected 'drop' or 'raise', got {on_invalid!r}")
        self._sink = sink
        self._validator = validator or Validator()
        self._raises = on_invalid == "raise"
        self._writing = threading.Lock()
        self._counting = threading.Lock()
        self._counters: Counter[str] = Counter()
        self._passed = 0
        self._closed = False
        self._owner = Owner()

    @property
    def counters(self) -> Counter[str]:
        """How many experiences were rejected for each reason, by its label, and as ``sequence_gap`` how many never came.

        With ``"raise"`` those of refused batches are counted each time the batch comes.
        """
        with self._counting:
            return self._counters.copy()

    @property
    def passed(self) -> int:
        """Experiences handed on so far."""
        return self._passed

    def write(self, batch: ExperienceBatch) -> None:
        """Hand on the experiences of ``batch`` that are sound: the batch itself if all are, nothing if none is.

        Raises:
            ConfigError: If some are not, with ``"raise"``.
            StateError: After ``close``, or in a process that was forked off the one that made the sink.
        """
        self._owner.check("sink")  # before the lock: a thread of the parent may hold it for ever
        with self._writing:
            if self._closed:
                raise StateError("write: expected an open sink, got one that is closed")
            validation = self._validator.check(batch)
            good, counts = validation.good, validation.counts()
            rejected = len(batch) - int(good.sum())
            if rejected and self._raises:
                self._count({reason: times for reason, times in counts.items() if reason != Reason.SEQUENCE_GAP.label})
                told = ", ".join(f"{times} {reason}" for reason, times in sorted(counts.items()))
                raise ConfigError(f"batch: expected {len(batch)} sound experiences, got {told}")
            if not rejected:
                self._sink.write(batch)
            elif good.any():
                self._sink.write(batch.select(good))
            self._validator.accept(batch, validation)
            self._passed += len(batch) - rejected
            self._count(counts)

    def _count(self, counts: dict[str, int]) -> None:
        with self._counting:
            self._counters.update(counts)

    def flush(self) -> None:
        """Flush the next sink."""
        self._sink.flush()

    def close(self) -> None:
        """Close the next sink and take no more; a forked child leaves that to its parent."""
        if not self._owner.is_here:
            return
        with self._writing:
            self._closed = True
        self._sink.close()
