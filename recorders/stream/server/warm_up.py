"""Compiles the kernels of the server before it answers: else the first calls, and writers, wait for the compiler."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from generals_env.engine.boards import empty_boards
from generals_env.engine.packed.packing import pack
from generals_env.engine.storage.hash_set import add_new, empty_hash_set, forget_newest
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.identity import experience_hashes
from generals_env.recorders.experience.validation import validate
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_decoder import decode_records
from generals_env.recorders.stream.protocol.record_encoder import encode_records

__all__ = ["sample_batch", "warm_up", "warn_if_slow"]

logger = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds after which a warning says why the server does not answer yet


def sample_batch() -> ExperienceBatch:
    """Return a batch of one experience: a pass on an empty board."""
    boards = empty_boards(2, 4, 4, 2)
    boards.games["turn"] = 0, 1
    rows = np.zeros(1, EXPERIENCE)
    rows["next_state_index"], rows["action"], rows["steps"] = 1, 8 * 16, 1
    return ExperienceBatch(("game",), rows, pack(boards), (4, 4))


def warm_up(batch: ExperienceBatch) -> None:
    """Run each kernel once that sending and submitting experiences use."""
    two = ExperienceBatch.concat([decode_batch(encode_batch(batch)), batch]).select(np.array([1, 0])).compact()
    two.padded(5, 5)
    validate(two)
    for full_actions in (False, True):
        records = [pb.Experience.FromString(data) for data in encode_records(batch, full_actions)]
        decode_records(records, batch)
    hashes = experience_hashes(batch)
    members, new, forgotten = empty_hash_set(4), np.empty(len(batch), np.bool_), np.empty(len(batch), np.uint64)
    forget_newest(members, add_new(members, hashes, new, forgotten), forgotten)


@contextmanager
def warn_if_slow() -> Iterator[None]:
    """Log a warning if the block takes longer than ``PATIENCE``."""
    timer = threading.Timer(PATIENCE, logger.warning, ("compiling kernels: the server answers afterwards; this is done once",))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
