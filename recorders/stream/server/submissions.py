"""Handles submitted experiences: decodes, validates and deduplicates them, and writes them to the source in one batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard
from grpc import StatusCode

from generals_env.config import MAX_SIZE
from generals_env.engine.storage.hash_set import add_new, empty_hash_set, forget_newest
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.identity import experience_hashes
from generals_env.recorders.experience.validation import Reason, validate
from generals_env.recorders.sinks.insert_limiter import InsertLimiter
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.grpc_status import CallRejectedError
from generals_env.recorders.stream.protocol.message_limits import MAX_EXPERIENCES
from generals_env.recorders.stream.protocol.message_parser import parse_message
from generals_env.recorders.stream.protocol.provenance import common_provenance
from generals_env.recorders.stream.protocol.record_decoder import check_game_id, decode_records
from generals_env.recorders.stream.protocol.supported_fields import record_id, unsupported_field
from generals_env.recorders.stream.server.experience_source import ExperienceSource, StreamFilter
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.stream_counters import SubmissionCounters

__all__ = ["Submissions"]

BUSY_WAIT = 10.0  # seconds to wait for other submissions

Flags = npt.NDArray[np.bool_]


class Rejection(NamedTuple):
    """Why a submitted experience is refused.

    Attributes:
        reason: Name under which it is counted, see ``SubmissionCounters``.
        error: The text for the client.
    """

    reason: str
    error: str


class Submissions:
    """Writes submitted experiences, one call at a time.

    Duplicates are detected by game, player and turn, among submissions and the experiences that the source held at the first
    call; not among experiences that other writers add to the source afterwards.
    """

    def __init__(
        self,
        source: ExperienceSource,
        limits: Limits,
        limiter: InsertLimiter | None = None,
        stopping: Callable[[], bool] = bool,
    ) -> None:
        """Write to a source; ``limiter`` makes writes wait for a learner, until ``stopping`` returns true."""
        self._source, self._limits = source, limits
        self._limiter, self._server_stops = limiter, stopping
        self._known_ids = empty_hash_set(limits.remembered)
        self._ids_loaded = False
        self._writing = threading.Lock()
        self.counters = SubmissionCounters()

    def submit(self, data: bytes) -> pb.SubmitExperiencesResponse:
        """Write the experiences of a serialized ``SubmitExperiencesRequest``, and return which were accepted.

        Raises:
            ConfigError: If they do not fit the experiences of the source. As for the other errors, nothing was written.
            CallRejectedError: If there are too many, the source is full, or it is read-only.
            StorageError: If they cannot be written.
        """
        request = parse_message(pb.SubmitExperiencesRequest, data, MAX_EXPERIENCES)
        if not self._source.writable:
            raise CallRejectedError(
                StatusCode.FAILED_PRECONDITION,
                "source: expected one that can be written, got one to read: submit to the server over the log's writer",
            )
        if request.experiences and request.packed:
            raise ConfigError("packed: expected it in place of experiences, got both: use two requests")
        if not self._writing.acquire(timeout=BUSY_WAIT):
            raise CallRejectedError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"submissions: expected earlier ones to end in {BUSY_WAIT:g} s, got one that goes on: retry later",
            )
        try:
            self._load_ids()
            ids: list[str] | None = None  # those of a packed batch are made only if some are refused
            if request.packed:
                batch, rejected = self._decode_packed(list(request.packed))
            else:
                batch, ids, rejected = self._decode_submitted(request.experiences)
            accepted = 0
            if batch is not None:
                new = self._write(batch)
                accepted = int(new.sum())
                if accepted < len(batch):
                    ids = experience_ids(batch) if ids is None else ids
                    rejected += [
                        Rejection("repeat", f"{ids[row][:200]}: expected a new experience, got a repeat")
                        for row in np.flatnonzero(~new)
                    ]
        finally:
            self._writing.release()
        self.counters.add(accepted, (one.reason for one in rejected))
        errors = [one.error for one in rejected]
        return pb.SubmitExperiencesResponse(accepted=accepted, rejected=len(errors), errors=errors)

    def _await_learner(self) -> None:
        """Wait until the limits allow to write."""
        if self._limiter is None or self._limiter.await_insert(BUSY_WAIT, self._server_stops):
            return
        raise CallRejectedError(
            StatusCode.RESOURCE_EXHAUSTED,
            f"limiter: expected a learner to draw within {BUSY_WAIT:g} s, got {self._limiter.counts}: retry later",
        )

    def _write(self, batch: ExperienceBatch) -> Flags:
        """Write the new experiences of a batch, and return which are new."""
        hashes = experience_hashes(batch)
        new, forgotten = np.empty(len(batch), np.bool_), np.empty(len(batch), np.uint64)
        count = add_new(self._known_ids, hashes, new, forgotten)
        try:
            if count:
                self._await_learner()
                self._source.write(batch if new.all() else batch.select(new))
                if self._limiter is not None:
                    self._limiter.count_inserted(count)
        except BaseException:
            forget_newest(self._known_ids, count, forgotten[:count])
            raise
        return new

    def _load_ids(self) -> None:
        """Load the ids of the experiences that the source holds, once."""
        if self._ids_loaded:
            return
        first, following = self._source.span
        cursor = self._source.cursor(max(first, following - self._limits.remembered), StreamFilter())
        try:
            while cursor.position < following and (batch := cursor.read_batch(0)) is not None:
                add_new(
                    self._known_ids, experience_hashes(batch), np.empty(len(batch), np.bool_), np.empty(len(batch), np.uint64)
                )
        finally:
            cursor.close()
        self._ids_loaded = True

    def _decode_submitted(self, records: Sequence[pb.Experience]) -> tuple[ExperienceBatch | None, list[str], list[Rejection]]:
        """Return the valid records as a batch, their ids, and a rejection for each of the others."""
        ids = [record.experience_id or record_id(record) for record in records]
        batch, valid, rejected = decode_records(records, self._source.like)
        rejected |= {index: reason for index in valid if (reason := unsupported_field(records[index])) is not None}
        rejections = [
            Rejection(reason.partition(":")[0], f"{ids[index][:200]}: {reason}") for index, reason in sorted(rejected.items())
        ]
        rows = [row for row, index in enumerate(valid) if index not in rejected]
        if batch is not None:
            batch = replace(batch, metadata=common_provenance(records[valid[row]] for row in rows))
        if batch is not None and len(rows) < len(batch):
            batch = batch.select(np.array(rows, np.int64)) if rows else None
        return batch, [ids[valid[row]] for row in rows], rejections

    def _decode_packed(self, encoded_batches: list[bytes]) -> tuple[ExperienceBatch | None, list[Rejection]]:
        """Return the valid experiences of packed batches as one batch, and a rejection for each of the others."""
        batches: list[ExperienceBatch] = []
        rejected: list[Rejection] = []
        count, like = 0, self._source.like
        for encoded in encoded_batches:
            batch = self._decode_one(encoded)
            count += len(batch)
            if count > MAX_EXPERIENCES:
                raise ConfigError(f"packed: expected at most {MAX_EXPERIENCES} experiences, got more: split the request")
            like = batch if like is None and len(batch) else like
            if like is not None and batch.shape != like.shape:  # concatenated, the smaller ones would be padded
                (height, width), (own_height, own_width) = like.shape, batch.shape
                reason = (
                    f"packed: expected boards of {height}x{width}, as the source or the first batch has,"
                    f" got {own_height}x{own_width}: use a server for each size"
                )
                rejected += [Rejection("board_size", f"{name}: {reason}") for name in experience_ids(batch)]
            elif len(batch):
                batches.append(batch)
        if not batches:
            return None, rejected
        batch = batches[0] if len(batches) == 1 else ExperienceBatch.concat(batches)
        found = validate(batch)
        if found.good.all():
            return batch, rejected
        rejected += [
            Rejection(Reason(reason).label, f"{name}: {Reason(reason).label}")
            for name, reason in zip(experience_ids(batch), found.reasons, strict=True)
            if reason
        ]
        return (batch.select(found.good) if found.good.any() else None), rejected

    def _decode_one(self, encoded: bytes) -> ExperienceBatch:
        """Decode a packed batch; raise ``ConfigError`` if it is malformed, or too large to be sent as records."""
        try:
            size = zstandard.frame_content_size(encoded)
            if size > self._limits.max_unpacked_bytes:
                raise ConfigError(
                    f"packed: expected at most {self._limits.max_unpacked_bytes} bytes unpacked, got {size}: split it"
                )
            batch = decode_batch(encoded)
        except (StorageError, zstandard.ZstdError) as error:
            raise ConfigError(f"packed: expected batches of the codec, got {error}: encode them with encode_batch") from error
        if max(batch.shape) > MAX_SIZE:
            raise ConfigError(f"packed: expected boards of sides up to {MAX_SIZE}, got {batch.shape}")
        if batch.dense is not None and batch.dense.observations.dtype.kind not in "biuf":
            raise ConfigError(f"packed: expected observations of numbers, got {batch.dense.observations.dtype}")
        if 8 * int(np.prod(batch.state_shape, dtype=np.float64)) > self._limits.max_message_bytes:
            raise ConfigError(
                f"packed: expected states that fit into a message, got shape {batch.state_shape}: raise max_message_bytes"
            )
        for name in batch.game_ids:
            check_game_id(name)
        return batch


def experience_ids(batch: ExperienceBatch) -> list[str]:
    """Return the ids of experiences in the form of ``Experience.experience_id``."""
    columns = (batch.game.tolist(), batch.player_id.tolist(), batch.turn.tolist())
    return [f"{batch.game_ids[game]}-{player}-{turn}" for game, player, turn in zip(*columns, strict=True)]
