"""Delivers batches to a sink in order, and keeps those that the sink refuses in bounded memory."""

from __future__ import annotations

import logging
import time

from generals_env.concurrency.interrupts import deferred, raise_pending
from generals_env.engine.packed.recording import Recording
from generals_env.errors import StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.recording.reused_recordings import RecordingPool
from generals_env.recorders.sinks.pending_batches import PendingBatches

__all__ = ["MAX_WAITING_BYTES", "DeliveryQueue"]

logger = logging.getLogger(__name__)

#: Default limit of memory for batches that a sink has refused.
MAX_WAITING_BYTES = 2**27

PAUSE = 0.1  # seconds between tries while recording waits for a sink that refuses


class DeliveryQueue:
    """Holds finished batches until a sink has taken them.

    Attributes:
        sink: Takes the batches. It refuses one by raising an ``OSError``.
        batches: The batches that the sink has not taken.
        dropped: Experiences that the sink never took: given up for newer ones, or left when the queue was closed.
    """

    def __init__(self, sink: Sink, pool: RecordingPool) -> None:
        """Deliver to ``sink``, and put the recordings of batches that it has taken back into ``pool``."""
        self.sink = sink
        self.batches = PendingBatches(MAX_WAITING_BYTES)
        self.dropped = 0
        self._pool = pool
        self._overflow = "raise"
        self._offered = False  # whether the sink was offered the newest batch
        self._refused = False  # whether the sink refused when it was last offered a batch

    @property
    def is_due(self) -> bool:
        """Whether ``deliver`` has something to do."""
        return bool(self.batches) and (not self._offered or self.batches.is_full())

    def limit(self, max_waiting_bytes: int, overflow: str) -> None:
        """Set how much memory refused batches may take, and what happens beyond it; see ``ExperienceRecorder``."""
        self.batches = PendingBatches(max_waiting_bytes)
        self._overflow = overflow

    def append(self, batch: ExperienceBatch, recording: Recording) -> None:
        """Append a batch whose arrays are views of ``recording``."""
        if self._refused:  # it may wait for long: copy it out of its recording, which is larger
            self.batches.append(batch.compact())
        else:
            self.batches.append(batch, recording)
        self._offered = False

    def require_room(self) -> None:
        """Deliver if the queue is full.

        Raises:
            StorageError: If it is full, the sink refuses, and ``overflow`` is ``"raise"``.
        """
        if not self.batches.is_full():
            return
        try:
            self.deliver()
        except OSError as error:
            raise StorageError(
                f"sink: expected it to take the {self.batches.experiences} experiences that wait for it "
                f"({self.batches.nbytes} bytes), got {error}; nothing more is played until it does: make it writable again, "
                "close the recorder, or record with overflow='block' or 'drop_oldest'"
            ) from error

    def deliver(self) -> None:
        """Offer all batches to the sink, and handle a refusal as ``overflow`` says.

        Raises:
            OSError: If the sink refuses, and ``overflow`` is ``"raise"``.
        """
        while True:
            try:
                self.deliver_all()
            except OSError as error:
                self._note_refusal(error)
                if self._overflow == "raise":
                    raise
            if self._overflow == "drop_oldest":
                while self.batches.is_full() and len(self.batches) > 1:
                    self.dropped += len(self.batches.pop().batch)
                return
            if not self.batches.is_full():
                return
            raise_pending()
            time.sleep(PAUSE)

    def deliver_all(self) -> None:
        """Give all batches to the sink; what it raises is raised here, and the batches that it has not taken stay."""
        while self.batches:
            with deferred():  # Ctrl-C between ``write`` and ``pop`` would make the sink get the batch twice
                self.sink.write(self.batches.first.batch)
                recording = self.batches.pop().attachment
            if recording is not None:
                self._pool.put_back(recording)
        self._refused = False

    def drop_all(self) -> int:
        """Give up all batches, and return how many experiences they had."""
        lost = self.batches.clear()
        self.dropped += lost
        return lost

    def _note_refusal(self, error: OSError) -> None:
        if not self._refused and self._overflow != "raise":
            logger.warning("%s refuses %d experiences: %s", type(self.sink).__name__, self.batches.experiences, error)
        self._refused = True
        self._offered = self._overflow != "raise"  # "raise" reports every refusal, so each call offers the batches again
