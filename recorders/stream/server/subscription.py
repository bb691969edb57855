"""A request for a stream, checked."""

from __future__ import annotations

from dataclasses import dataclass

from grpc import StatusCode

from generals_env.arguments import check_integer
from generals_env.errors import ConfigError
from generals_env.recorders.experience.filter import ExperienceFilter
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.message_limits import MAX_EXPERIENCES
from generals_env.recorders.stream.server.grpc_status import CallRejectedError
from generals_env.recorders.stream.server.source import ExperienceSource, StreamFilter

__all__ = [
    "MAX_FIELDS",
    "Subscription",
]


MAX_NAMES = 10_000  # of games or players in a request

MAX_FIELDS = 2 * MAX_NAMES + 100  # of a request, each name counted

MAX_SHARDS = 4096

MAX_WAIT = 600_000  # ms

SIZE = 32  # experiences of a batch of records, if the request does not say

WAIT = 100  # ms, likewise


@dataclass(frozen=True)
class Subscription:
    """What a consumer asks for.

    Attributes:
        first: Number of the first experience to look at.
        wanted: Which experiences.
        follow: Whether to go on with those that come later.
        packed: Whether to send boards.
        size: The most experiences of a message; 0 to send pieces as they are stored.
        wait: Seconds that an experience may wait for others.
        full_actions: Whether actions and masks are those of the package, not of the original.
        compress: Whether to compress records.
    """

    first: int
    wanted: StreamFilter
    follow: bool
    packed: bool
    size: int
    wait: float
    full_actions: bool
    compress: bool

    @classmethod
    def of(cls, request: pb.StreamExperiencesRequest, feed: ExperienceSource, batches: bool) -> Subscription:
        """Return what a request asks for.

        Args:
            request: The request.
            feed: What is read.
            batches: Whether messages are batches, else single experiences.

        Raises:
            ConfigError: If a field has a value it cannot have.
            CallRejectedError: If its numbers are not those of this stream.
        """
        for name in ("game_ids", "player_ids"):
            check_integer(f"number of {name}", len(getattr(request, name)), 0, MAX_NAMES)
        for player in request.player_ids:
            check_integer("player_ids", player, 0, 2**31 - 1)
        check_integer("batch_size", request.batch_size, 0, MAX_EXPERIENCES)
        check_integer("max_batch_wait_ms", request.max_batch_wait_ms, 0, MAX_WAIT)
        check_integer("shards", request.shards, 0, MAX_SHARDS)
        check_integer("shard", request.shard, 0, max(request.shards - 1, 0))
        selection = ExperienceFilter.of(
            frozenset(request.game_ids) or None, frozenset(request.player_ids) or None, request.min_turn or None
        )
        wanted = StreamFilter(selection, request.shard, max(request.shards, 1))
        if request.encoding not in (pb.RECORDS, pb.PACKED):
            raise ConfigError(f"encoding: expected RECORDS or PACKED, got {request.encoding}")
        if request.encoding == pb.PACKED and not batches:
            raise ConfigError("encoding: expected RECORDS in StreamExperiences, got PACKED: call StreamExperienceBatches")
        packed = request.encoding == pb.PACKED
        size: int = request.batch_size
        return cls(
            first=first_of(request, feed),
            wanted=wanted,
            follow=request.follow,
            packed=packed,
            size=size if size else MAX_EXPERIENCES if packed and not wanted.everything else 0 if packed else SIZE,
            wait=(request.max_batch_wait_ms or WAIT) / 1000,
            full_actions=request.full_actions,
            compress=request.enable_compression,
        )


def first_of(request: pb.StreamExperiencesRequest, feed: ExperienceSource) -> int:
    """Return the number that a stream begins with."""
    oldest, following = feed.span
    if request.stream_id and request.stream_id != feed.stream_id:
        raise CallRejectedError(
            StatusCode.FAILED_PRECONDITION, f"stream_id: expected {feed.stream_id!r}, got {request.stream_id[:80]!r}"
        )
    if request.resume:
        check_integer("from_sequence", request.from_sequence, 0, 2**62)
        if request.from_sequence > following:
            raise CallRejectedError(
                StatusCode.OUT_OF_RANGE, f"from_sequence: expected at most {following}, got {request.from_sequence}"
            )
        number: int = request.from_sequence
        return number
    if request.from_sequence:
        raise ConfigError(f"from_sequence: expected resume beside it, got {request.from_sequence} without")
    if request.start not in (pb.OLDEST, pb.NOW):
        raise ConfigError(f"start: expected OLDEST or NOW, got {request.start}")
    return following if request.start == pb.NOW else oldest
