"""Validates experiences on their way to a sink, and counts the rejected ones by reason."""

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

MAX_SOURCES = 65536  # sources whose last sequence number is remembered


@pickled_as("generals_env.recorders")
class Validator:
    """Checks batches, and their sequence numbers across batches.

    A recorder numbers its experiences without gaps. ``metadata["run"]`` names the recorder of a batch; all batches without it
    count as one source. The first experience of a source may have any sequence number, each further one has to have a higher
    one. So check sequence numbers where batches arrive as they were recorded; after sampling or merging, or in a server with
    many clients, turn ``sequences`` off.
    """

    def __init__(self, sequences: bool = True) -> None:
        """Make a validator that has seen no source.

        Args:
            sequences: Whether to check sequence numbers.

        Raises:
            ConfigError: If ``sequences`` is no bool.
        """
        self.sequences = check_flag("sequences", sequences)
        self._last: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the lock, for copies and pickles."""
        with self._lock:
            return {"sequences": self.sequences, "_last": self._last.copy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state of ``__getstate__``."""
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def check(self, batch: ExperienceBatch) -> Validation:
        """Return which experiences of a batch are invalid; sequence numbers are remembered by ``accept`` only."""
        reasons = validate(batch).reasons
        if not self.sequences or not len(batch):
            return Validation(reasons)
        numbers = batch.sequence
        with self._lock:
            last = self._last.get(source_of(batch), max(int(numbers[0]), 0) - 1)  # numbers below 0 are repeats
        highest = np.maximum.accumulate(np.concatenate([[last], numbers]))
        repeated = numbers <= highest[:-1]
        reasons[repeated & (reasons == Reason.FINE)] = Reason.SEQUENCE_REPEAT
        missing = int((numbers - highest[:-1] - 1)[~repeated].sum())
        return Validation(reasons, missing, int(highest[-1]))

    def accept(self, batch: ExperienceBatch, validation: Validation) -> None:
        """Remember the sequence numbers of a checked batch."""
        if validation.last is None:
            return
        with self._lock:
            self._last[source_of(batch)] = validation.last
            self._last.move_to_end(source_of(batch))
            if len(self._last) > MAX_SOURCES:
                self._last.popitem(last=False)


def source_of(batch: ExperienceBatch) -> str:
    """Return the run id of the recorder of a batch."""
    return str(batch.metadata.get("run", ""))


@pickled_as("generals_env.recorders")
class ValidatingSink(NotCopied):
    """Writes valid experiences to another sink, and counts the others by reason.

    A batch that the next sink refuses (its ``write`` raises) is not counted: it may be written again. Writes from several
    threads run one after another.
    """

    _instead = "make another ValidatingSink of a sink of its own; Validators can be copied"

    def __init__(self, sink: Sink, validator: Validator | None = None, on_invalid: str = "drop") -> None:
        """Write to ``sink``.

        Args:
            sink: The next sink.
            validator: Checks the batches; None for a new one.
            on_invalid: ``"drop"`` writes the valid experiences of a batch, ``"raise"`` refuses the whole batch.

        Raises:
            ConfigError: If an argument has the wrong type or value.
        """
        if not isinstance(sink, Sink):
            raise ConfigError(
                f"sink: expected an object with write, flush and close, got {sink!r}: open a path with DatasetWriter(path)"
            )
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
        """Rejected experiences by the label of the reason, and missing sequence numbers as ``sequence_gap``.

        With ``"raise"`` the experiences of a refused batch are counted each time the batch is written.
        """
        with self._counting:
            return self._counters.copy()

    @property
    def passed(self) -> int:
        """Experiences written to the next sink so far."""
        return self._passed

    def write(self, batch: ExperienceBatch) -> None:
        """Write the valid experiences of ``batch`` to the next sink: the batch itself if all are, no batch if none is.

        Raises:
            ConfigError: If some are invalid, with ``"raise"``.
            StateError: After ``close``, or in a process that was forked off the one that made the sink.
        """
        self._owner.check("sink")  # before the lock: a thread of the parent may hold it for ever
        with self._writing:
            if self._closed:
                raise StateError("write: expected an open sink, got one that is closed: make a new one")
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
        """Close the next sink, and refuse further batches; does nothing in a forked process."""
        if not self._owner.is_here:
            return
        with self._writing:
            self._closed = True
        self._sink.close()
