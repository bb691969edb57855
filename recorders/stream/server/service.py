"""Implements the calls of the gRPC service ``ExperienceService``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc

from generals_env.recorders.sinks.insert_limiter import InsertLimiter
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.grpc_status import CallRejectedError, abort_on_error
from generals_env.recorders.stream.protocol.message_parser import parse_message
from generals_env.recorders.stream.server.experience_source import ExperienceSource
from generals_env.recorders.stream.server.experience_statistics import Statistics
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.stream_counters import ServerTotals
from generals_env.recorders.stream.server.stream_defaults import CurrentDefaults
from generals_env.recorders.stream.server.stream_sender import StreamSender, StreamStatus
from generals_env.recorders.stream.server.submissions import Submissions
from generals_env.recorders.stream.server.subscription import MAX_FIELDS, Subscription

__all__ = ["SERVICE", "Service"]

SERVICE = pb.DESCRIPTOR.services_by_name["ExperienceService"].full_name


class Service:
    """Answers the four calls. Requests arrive as bytes, so that malformed ones get a proper status."""

    def __init__(
        self,
        source: ExperienceSource,
        limits: Limits,
        stopping: threading.Event,
        defaults: CurrentDefaults,
        limiter: InsertLimiter | None = None,
    ) -> None:
        """Answer from a source until ``stopping`` is set."""
        self._defaults = defaults
        self._source, self._limits, self._stopping = source, limits, stopping
        self._statistics = Statistics(source)
        self._submissions = Submissions(source, limits, limiter, stopping.is_set)
        self._changing = threading.Lock()
        self._consumers = 0
        self._streams: set[StreamSender] = set()  # of consumers whose requests were valid
        self._ended = ServerTotals()  # of streams that have ended

    @property
    def handlers(self) -> grpc.GenericRpcHandler:
        """The handlers to register with gRPC."""
        streams = (self.StreamExperiences, self.StreamExperienceBatches)
        calls = (self.SubmitExperiences, self.GetExperienceStats)
        methods = {method.__name__: grpc.unary_stream_rpc_method_handler(method) for method in streams}
        methods |= {method.__name__: grpc.unary_unary_rpc_method_handler(method) for method in calls}
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    @property
    def streams(self) -> list[StreamStatus]:
        """The position of each consumer."""
        with self._changing:
            streams = list(self._streams)
        return [stream.status for stream in streams]

    @property
    def totals(self) -> ServerTotals:
        """The totals of all streams and submissions so far."""
        with self._changing:
            totals = replace(self._ended, dropped=dict(self._ended.dropped))
            for stream in self._streams:
                totals.add(*stream.totals)
        totals.accepted, totals.rejected = self._submissions.counters.counts()
        return totals

    def StreamExperiences(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:  # noqa: N802 - of the wire
        """Stream one experience a message."""
        return self._stream(data, context, StreamSender.records, batches=False)

    def StreamExperienceBatches(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:  # noqa: N802 - of the wire
        """Stream batches of experiences."""
        return self._stream(data, context, StreamSender.batches, batches=True)

    def _stream(
        self, data: bytes, context: grpc.ServicerContext, messages: Callable[[StreamSender], Iterator[bytes]], *, batches: bool
    ) -> Iterator[bytes]:
        with abort_on_error(context), self._consumer():
            request = parse_message(pb.StreamExperiencesRequest, data, MAX_FIELDS)
            subscription = Subscription.of(request, self._source, batches, self._defaults)
            if subscription.stream_filter.selection.game_ids and not subscription.follow:
                self._require_games(subscription.stream_filter.selection.game_ids)
            if subscription.compress and not subscription.packed:
                context.set_compression(grpc.Compression.Gzip)
            max_bytes = self._limits.message_bytes(request.max_message_bytes)
            stream = StreamSender(self._source, subscription, max_bytes, context.peer(), context.is_active, self._stopping)
            with self._registered(stream):
                yield from messages(stream)

    def SubmitExperiences(self, data: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: N802 - of the wire
        """Write submitted experiences to the source; answer when it holds them durably."""
        with abort_on_error(context):
            return serialize(self._submissions.submit(data))
        raise AssertionError("the call has been ended")

    def GetExperienceStats(self, data: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: N802 - of the wire
        """Return statistics of the experiences that the source holds."""
        with abort_on_error(context):
            request = parse_message(pb.GetExperienceStatsRequest, data, MAX_FIELDS)
            max_bytes = self._limits.message_bytes(request.max_message_bytes)
            statistics = self._statistics
            answer = statistics.position() if request.place_only else statistics.answer(frozenset(request.game_ids))
            answer.consumers = self._consumers
            answer.streams.extend(
                pb.StreamStatus(**{**status._asdict(), "max_lag": status.max_lag or 0}) for status in self.streams
            )
            data = serialize(answer)
            if len(data) > max_bytes:
                raise CallRejectedError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"game_ids: expected some of the games, got all {answer.total_games}: too many for an answer, name fewer",
                )
            return data
        raise AssertionError("the call has been ended")

    @contextmanager
    def _consumer(self) -> Iterator[None]:
        """Count a consumer while the block runs."""
        with self._changing:
            if self._stopping.is_set():
                raise CallRejectedError(
                    grpc.StatusCode.UNAVAILABLE, "server: expected to go on, got a request to stop: connect again later"
                )
            if self._consumers >= self._limits.max_connections:
                limit = self._limits.max_connections
                raise CallRejectedError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"max_connections: expected at most {limit} streams, got one more: retry later",
                )
            self._consumers += 1
        try:
            yield
        finally:
            with self._changing:
                self._consumers -= 1

    @contextmanager
    def _registered(self, stream: StreamSender) -> Iterator[None]:
        """List a stream in ``streams`` while the block runs."""
        with self._changing:
            self._streams.add(stream)
        try:
            yield
        finally:
            with self._changing:
                self._streams.discard(stream)
                self._ended.add(*stream.totals)

    def _require_games(self, game_ids: frozenset[str]) -> None:
        unknown = sorted(game_ids - self._statistics.games())
        if unknown:
            raise CallRejectedError(
                grpc.StatusCode.NOT_FOUND,
                f"game_ids: expected games with experiences, got {unknown!r:.200}: use follow to wait for them",
            )


def serialize(message: Any) -> bytes:
    """Return a message as bytes, typed."""
    data: bytes = message.SerializeToString()
    return data
