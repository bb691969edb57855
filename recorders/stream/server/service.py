"""The calls of ``ExperienceService``, from bytes to bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.server.grpc_status import CallRejectedError, answering
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.message_parser import parsed
from generals_env.recorders.stream.server.source import ExperienceSource
from generals_env.recorders.stream.server.statistics import Statistics
from generals_env.recorders.stream.server.stream_sender import Stream, StreamStatus
from generals_env.recorders.stream.server.submissions import Submissions
from generals_env.recorders.stream.server.subscription import MAX_FIELDS, Subscription

__all__ = ["SERVICE", "Service"]

SERVICE = pb.DESCRIPTOR.services_by_name["ExperienceService"].full_name


class Service:
    """Answers the four calls. gRPC hands requests over as bytes, so that those that are none get a proper status."""

    def __init__(self, feed: ExperienceSource, limits: Limits, stopping: threading.Event) -> None:
        """Answer from a feed until ``stopping`` is set."""
        self._feed, self._limits, self._stopping = feed, limits, stopping
        self._statistics = Statistics(feed)
        self._submissions = Submissions(feed, limits)
        self._changing = threading.Lock()
        self._consumers = 0
        self._streams: set[Stream] = set()  # those of the consumers whose requests were sound

    @property
    def handlers(self) -> grpc.GenericRpcHandler:
        """What gRPC calls."""
        streams = (self.StreamExperiences, self.StreamExperienceBatches)
        calls = (self.SubmitExperiences, self.GetExperienceStats)
        methods = {method.__name__: grpc.unary_stream_rpc_method_handler(method) for method in streams}
        methods |= {method.__name__: grpc.unary_unary_rpc_method_handler(method) for method in calls}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    @property
    def streams(self) -> list[StreamStatus]:
        """How far each consumer is."""
        with self._changing:
            streams = list(self._streams)
        return [stream.status for stream in streams]

    def StreamExperiences(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:  # noqa: N802 - of the wire
        """Send experiences one by one."""
        return self._stream(data, context, Stream.records, batches=False)

    def StreamExperienceBatches(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:  # noqa: N802 - of the wire
        """Send experiences many at a time."""
        return self._stream(data, context, Stream.batches, batches=True)

    def _stream(
        self, data: bytes, context: grpc.ServicerContext, messages: Callable[[Stream], Iterator[bytes]], *, batches: bool
    ) -> Iterator[bytes]:
        with answering(context), self._consumer():
            request = parsed(pb.StreamExperiencesRequest, data, MAX_FIELDS)
            subscription = Subscription.of(request, self._feed, batches)
            if subscription.wanted.selection.game_ids and not subscription.follow:
                self._require_games(subscription.wanted.selection.game_ids)
            if subscription.compress and not subscription.packed:
                context.set_compression(grpc.Compression.Gzip)
            most_bytes = self._limits.message_bytes(request.max_message_bytes)
            stream = Stream(self._feed, subscription, most_bytes, context.peer(), context.is_active, self._stopping)
            with self._known(stream):
                yield from messages(stream)

    def SubmitExperiences(self, data: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: N802 - of the wire
        """Take experiences; the answer comes when they are where they are to stay."""
        with answering(context):
            return encoded(self._submissions.take(data))
        raise AssertionError("the call has been ended")

    def GetExperienceStats(self, data: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: N802 - of the wire
        """Tell what is kept."""
        with answering(context):
            request = parsed(pb.GetExperienceStatsRequest, data, MAX_FIELDS)
            most_bytes = self._limits.message_bytes(request.max_message_bytes)
            statistics = self._statistics
            answer = statistics.place() if request.place_only else statistics.answer(frozenset(request.game_ids))
            answer.consumers = self._consumers
            answer.streams.extend(pb.StreamStatus(**status._asdict()) for status in self.streams)
            data = encoded(answer)
            if len(data) > most_bytes:
                raise CallRejectedError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"game_ids: expected some of the games, got all {answer.total_games}: too many for an answer",
                )
            return data
        raise AssertionError("the call has been ended")

    @contextmanager
    def _consumer(self) -> Iterator[None]:
        """Count a consumer while it is there."""
        with self._changing:
            if self._stopping.is_set():
                raise CallRejectedError(grpc.StatusCode.UNAVAILABLE, "server: expected to go on, got a request to stop")
            if self._consumers >= self._limits.max_connections:
                most = self._limits.max_connections
                raise CallRejectedError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED, f"max_connections: expected {most} streams, got one more"
                )
            self._consumers += 1
        try:
            yield
        finally:
            with self._changing:
                self._consumers -= 1

    @contextmanager
    def _known(self, stream: Stream) -> Iterator[None]:
        """Let a stream be among those that are told of."""
        with self._changing:
            self._streams.add(stream)
        try:
            yield
        finally:
            with self._changing:
                self._streams.discard(stream)

    def _require_games(self, game_ids: frozenset[str]) -> None:
        unknown = sorted(game_ids - self._statistics.games())
        if unknown:
            raise CallRejectedError(grpc.StatusCode.NOT_FOUND, f"game_ids: expected games that are kept, got {unknown!r:.200}")


def encoded(message: Any) -> bytes:
    """Return a message as bytes."""
    data: bytes = message.SerializeToString()
    return data
