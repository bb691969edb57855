"""Experiences that others bring: checked, known again, and written in one batch."""

from __future__ import annotations

import threading
from collections.abc import Sequence

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
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.message_limits import MAX_EXPERIENCES
from generals_env.recorders.stream.protocol.record_decoder import batch_of_records, check_game_id
from generals_env.recorders.stream.protocol.supported_fields import name_of, not_kept
from generals_env.recorders.stream.server.grpc_status import CallRejectedError
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.message_parser import parsed
from generals_env.recorders.stream.server.source import ExperienceSource, StreamFilter

__all__ = ["Submissions"]

BUSY = 10.0  # seconds to wait for submissions of others

Flags = npt.NDArray[np.bool_]


class Submissions:
    """Takes experiences, one call after another.

    Each is known by game, player and turn. What was in the source when the first call came is known, too; what is written to
    the source by others after that is not.
    """

    def __init__(self, feed: ExperienceSource, limits: Limits) -> None:
        """Write to a feed."""
        self._feed, self._limits = feed, limits
        self._members = empty_hash_set(limits.remembered)
        self._has_looked = False
        self._taking = threading.Lock()

    def take(self, data: bytes) -> pb.SubmitExperiencesResponse:
        """Write what a ``SubmitExperiencesRequest`` brings, and return what became of it.

        Raises:
            ConfigError: If it does not fit what is there.
            CallRejectedError: If there is too much of it, no room for it, or nothing can be written. Nothing has been taken.
            StorageError: If it cannot be written. Nothing has been taken.
        """
        request = parsed(pb.SubmitExperiencesRequest, data, MAX_EXPERIENCES)
        if not self._feed.writable:
            raise CallRejectedError(StatusCode.FAILED_PRECONDITION, "source: expected one that can be written, got one to read")
        if request.experiences and request.packed:
            raise ConfigError("packed: expected it in place of experiences, got both")
        if not self._taking.acquire(timeout=BUSY):
            raise CallRejectedError(
                StatusCode.RESOURCE_EXHAUSTED, f"submissions: expected to be done in {BUSY:g} s, got no turn"
            )
        try:
            self._look()
            if request.packed:
                batch, reasons = self._packed(list(request.packed))
                names = None if batch is None else names_of(batch)
            else:
                batch, names, reasons = self._records(request.experiences)
            accepted = 0
            if batch is not None and names is not None:
                new = self._write(batch)
                accepted = int(new.sum())
                reasons += [f"{names[row][:200]}: expected a new experience, got a repeat" for row in np.flatnonzero(~new)]
        finally:
            self._taking.release()
        return pb.SubmitExperiencesResponse(accepted=accepted, rejected=len(reasons), errors=reasons)

    def _write(self, batch: ExperienceBatch) -> Flags:
        """Write what is new of a batch, and return which experiences are."""
        hashes = experience_hashes(batch)
        new, forgotten = np.empty(len(batch), np.bool_), np.empty(len(batch), np.uint64)
        count = add_new(self._members, hashes, new, forgotten)
        try:
            if count:
                self._feed.write(batch if new.all() else batch.select(new))
        except BaseException:
            forget_newest(self._members, count, forgotten[:count])
            raise
        return new

    def _look(self) -> None:
        """Get to know what is there."""
        if self._has_looked:
            return
        first, following = self._feed.span
        cursor = self._feed.cursor(max(first, following - self._limits.remembered), StreamFilter())
        try:
            while cursor.position < following and (batch := cursor.batch(0)) is not None:
                add_new(
                    self._members, experience_hashes(batch), np.empty(len(batch), np.bool_), np.empty(len(batch), np.uint64)
                )
        finally:
            cursor.close()
        self._has_looked = True

    def _records(self, records: Sequence[pb.Experience]) -> tuple[ExperienceBatch | None, list[str], list[str]]:
        """Return the sound ones of records together, their ids, and what is wrong with the others."""
        told = [record.experience_id or name_of(record) for record in records]
        batch, sound, refused = batch_of_records(records, self._feed.like)
        refused |= {number: reason for number in sound if (reason := not_kept(records[number])) is not None}
        reasons = [f"{told[number][:200]}: {reason}" for number, reason in sorted(refused.items())]
        rows = [row for row, number in enumerate(sound) if number not in refused]
        if batch is not None and len(rows) < len(batch):
            batch = batch.select(np.array(rows, np.int64)) if rows else None
        return batch, [told[sound[row]] for row in rows], reasons

    def _packed(self, pieces: list[bytes]) -> tuple[ExperienceBatch | None, list[str]]:
        """Return the sound experiences of packed batches together, and what is wrong with the others."""
        batches: list[ExperienceBatch] = []
        reasons: list[str] = []
        count, like = 0, self._feed.like
        for piece in pieces:
            batch = self._unpacked(piece)
            count += len(batch)
            if count > MAX_EXPERIENCES:
                raise ConfigError(f"packed: expected at most {MAX_EXPERIENCES} experiences, got more")
            like = batch if like is None and len(batch) else like
            if like is not None and batch.shape != like.shape:  # together, the smaller ones would be padded
                (height, width), (own_height, own_width) = like.shape, batch.shape
                told = f"packed: expected boards of {height}x{width}, as there are, got {own_height}x{own_width}"
                reasons += [f"{name}: {told}" for name in names_of(batch)]
            elif len(batch):
                batches.append(batch)
        if not batches:
            return None, reasons
        batch = ExperienceBatch.concat(batches)
        found = validate(batch)
        reasons += [
            f"{name}: {Reason(reason).label}" for name, reason in zip(names_of(batch), found.reasons, strict=True) if reason
        ]
        return (batch.select(found.good) if found.good.any() else None), reasons

    def _unpacked(self, piece: bytes) -> ExperienceBatch:
        """Return a packed batch; raise ``ConfigError`` if it is none, or too large for others to make records of it."""
        try:
            size = zstandard.frame_content_size(piece)
            if size > self._limits.max_unpacked_bytes:
                raise ConfigError(f"packed: expected at most {self._limits.max_unpacked_bytes} bytes unpacked, got {size}")
            batch = decode_batch(piece)
        except (StorageError, zstandard.ZstdError) as error:
            raise ConfigError(f"packed: expected batches of the codec, got {error}") from error
        if max(batch.shape) > MAX_SIZE:
            raise ConfigError(f"packed: expected boards of sides up to {MAX_SIZE}, got {batch.shape}")
        if batch.dense is not None and batch.dense.observations.dtype.kind not in "biuf":
            raise ConfigError(f"packed: expected observations of numbers, got {batch.dense.observations.dtype}")
        if 8 * int(np.prod(batch.state_shape, dtype=np.float64)) > self._limits.max_message_bytes:
            raise ConfigError(f"packed: expected states that fit into a message, got shape {batch.state_shape}")
        for name in batch.game_ids:
            check_game_id(name)
        return batch


def names_of(batch: ExperienceBatch) -> list[str]:
    """Return the ids of experiences on the wire."""
    columns = (batch.game.tolist(), batch.player_id.tolist(), batch.turn.tolist())
    return [f"{batch.game_ids[game]}-{player}-{turn}" for game, player, turn in zip(*columns, strict=True)]
