"""Validates a request for a stream, and turns it into a ``Subscription``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grpc import StatusCode

from generals_env.arguments import check_integer
from generals_env.errors import ConfigError
from generals_env.recorders.experience.filter import ExperienceFilter
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.grpc_status import CallRejectedError
from generals_env.recorders.stream.protocol.message_limits import MAX_EXPERIENCES, MAX_WAIT_MS
from generals_env.recorders.stream.protocol.overflow import OVERFLOWS
from generals_env.recorders.stream.server.experience_source import ExperienceSource, StreamFilter
from generals_env.recorders.stream.server.stream_defaults import CurrentDefaults

__all__ = ["MAX_FIELDS", "Subscription"]

MAX_NAMES = 10_000  # ids of games or of players in a request

MAX_FIELDS = 2 * MAX_NAMES + 100  # of a request, each id counted

MAX_SHARDS = 4096


@dataclass(frozen=True)
class Subscription:
    """A validated request for a stream.

    Attributes:
        first: Sequence of the first experience to read.
        stream_filter: Which experiences pass.
        follow: Whether to go on with experiences that are recorded later.
        packed: Whether to send packed boards instead of records.
        size: Maximum number of experiences of a message; 0 to send ranges as they are stored.
        wait: Returns the seconds that an experience may wait for others; the server's default can change.
        full_actions: Whether actions and masks have the layout of the package instead of the original's.
        compress: Whether to compress records.
        policy: What happens when the consumer cannot keep up, a name of ``OVERFLOWS``.
        max_lag: How many experiences it may be behind; None without a limit.
    """

    first: int
    stream_filter: StreamFilter
    follow: bool
    packed: bool
    size: int
    wait: Callable[[], float]
    full_actions: bool
    compress: bool
    policy: str
    max_lag: int | None

    @classmethod
    def of(
        cls, request: pb.StreamExperiencesRequest, source: ExperienceSource, batches: bool, current: CurrentDefaults
    ) -> Subscription:
        """Validate a request.

        Args:
            request: The request.
            source: The source of the stream.
            batches: Whether messages are batches, else single experiences.
            current: The defaults of the server, for what the request does not name.

        Raises:
            ConfigError: If a field has an invalid value.
            CallRejectedError: If it resumes another stream, or after the end of this one.
        """
        for name in ("game_ids", "player_ids"):
            check_integer(f"number of {name}", len(getattr(request, name)), 0, MAX_NAMES)
        for player in request.player_ids:
            check_integer("player_ids", player, 0, 2**31 - 1)
        check_integer("batch_size", request.batch_size, 0, MAX_EXPERIENCES)
        check_integer("max_batch_wait_ms", request.max_batch_wait_ms, 0, MAX_WAIT_MS)
        check_integer("max_lag", request.max_lag, 0, 2**62)
        check_integer("shards", request.shards, 0, MAX_SHARDS)
        check_integer("shard", request.shard, 0, max(request.shards - 1, 0))
        selection = ExperienceFilter.of(
            frozenset(request.game_ids) or None, frozenset(request.player_ids) or None, request.min_turn or None
        )
        stream_filter = StreamFilter(selection, request.shard, max(request.shards, 1))
        if request.encoding not in (pb.RECORDS, pb.PACKED):
            raise ConfigError(f"encoding: expected RECORDS or PACKED, got {request.encoding}")
        if request.encoding == pb.PACKED and not batches:
            raise ConfigError("encoding: expected RECORDS in StreamExperiences, got PACKED: call StreamExperienceBatches")
        packed = request.encoding == pb.PACKED
        defaults = current.value
        policy = {value: name for name, value in OVERFLOWS.items()}.get(request.overflow, defaults.policy)
        if request.overflow not in (pb.SERVER_DEFAULT, *OVERFLOWS.values()):
            raise ConfigError(f"overflow: expected BLOCK, DROP_OLDEST or DROP_NEWEST, got {request.overflow}")
        default_size = defaults.batch_size
        if packed:  # ranges as they are stored, unless their experiences have to be separated
            default_size = 0 if stream_filter.everything and policy != "drop_newest" else MAX_EXPERIENCES
        size: int = request.batch_size
        return cls(
            first=first_sequence(request, source),
            stream_filter=stream_filter,
            follow=request.follow,
            packed=packed,
            size=size or default_size,
            wait=(lambda: wait_ms / 1000) if (wait_ms := request.max_batch_wait_ms) else current.wait,
            full_actions=request.full_actions,
            compress=request.enable_compression and defaults.compression,
            policy=policy,
            max_lag=None if policy == "block" else request.max_lag or defaults.max_lag,
        )


def first_sequence(request: pb.StreamExperiencesRequest, source: ExperienceSource) -> int:
    """Return the sequence that a stream begins with."""
    oldest, following = source.span
    if request.stream_id and request.stream_id != source.stream_id:
        raise CallRejectedError(
            StatusCode.FAILED_PRECONDITION,
            f"stream_id: expected {source.stream_id!r}, got {request.stream_id[:80]!r}: start again without resume",
        )
    if request.resume:
        check_integer("from_sequence", request.from_sequence, 0, 2**62)
        if request.from_sequence > following:
            raise CallRejectedError(
                StatusCode.OUT_OF_RANGE,
                f"from_sequence: expected at most {following}, got {request.from_sequence}: start again without resume",
            )
        first: int = request.from_sequence
        return first
    if request.from_sequence:
        raise ConfigError(f"from_sequence: expected resume beside it, got {request.from_sequence} without: set resume")
    if request.start not in (pb.OLDEST, pb.NOW):
        raise ConfigError(f"start: expected OLDEST or NOW, got {request.start}")
    return following if request.start == pb.NOW else oldest
