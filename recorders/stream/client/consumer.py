"""The other end of a stream: experiences of a server, each once and in order, whatever happens between the two."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np

from generals_env.arguments import as_config, check_integer
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import ExperienceFilter
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.stream.client.channel import Access, open_channel
from generals_env.recorders.stream.client.message_decoder import unpacked
from generals_env.recorders.stream.client.position import Position
from generals_env.recorders.stream.client.rebatch import rechunked
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.protocol.message_limits import MAX_EXPERIENCES

__all__ = ["ExperienceConsumer", "Position", "Submitted"]

logger = logging.getLogger(__name__)

STARTS = {"oldest": pb.OLDEST, "now": pb.NOW}

SMALL = 1024  # bytes that all but the experiences take in a request, at the most

#: What may be over by itself: the server is away, or was stopped while it answered.
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


@dataclass(frozen=True)
class Submitted:
    """What became of experiences that were submitted.

    Attributes:
        accepted: How many were taken.
        rejected: How many were not.
        errors: Why, each with the id of its experience.
    """

    accepted: int
    rejected: int
    errors: tuple[str, ...]


@pickled_as("generals_env.recorders")
class ExperienceConsumer(NotCopied):
    """Receives experience from a server, in order, each once.

    Where the connection breaks, or the server goes away and comes back, it connects again and goes on behind the last
    experience: without a gap or a repeat, as long as the server has what comes next. A server over a log always has; one over a
    buffer forgets all when it ends: then the consumer says so in the log of the program, counts it in ``restarts``, and goes on
    with the oldest experience of the new stream.

    Example:
        >>> with ExperienceConsumer("127.0.0.1:50051") as consumer:  # doctest: +SKIP
        ...     for batch in consumer.stream_experiences(batch_size=256):
        ...         states = batch.states()

    Attributes:
        address: Of the server.
        position: Behind the last experience that was handed out; None before the first message.
        missed: Experiences that the server did not keep long enough.
        restarts: How often the stream was another one after a new connection.
        reconnects: How often a new connection was made.
    """

    _instead = "make another ExperienceConsumer of its address, and give its position as resume"

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        root_certificates: str | Path | None = None,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        retry: Retry | Mapping[str, Any] | None = None,
        max_message_bytes: int = 10_000_000,
    ) -> None:
        """Prepare to connect; the first call does.

        Args:
            address: Host and port.
            token: Sent with every call.
            root_certificates: File in PEM with certificates that vouch for the server: makes the connection TLS.
            certificate: File in PEM with the client's own certificate, for servers that ask for one.
            key: File in PEM with its key.
            retry: How often, and when, a connection is tried again in a row without anything received. By default about two
                minutes.
            max_message_bytes: Larger messages are refused.

        Raises:
            ConfigError: If an argument is not what it should be.
        """
        check_integer("max_message_bytes", max_message_bytes, 2**16, 2**30)
        self.address = address
        self.retry = as_config("retry", Retry, retry, Retry(tries=20, first_wait=0.1, max_wait=10.0))
        self._access = Access(token, root_certificates, certificate, key, max_message_bytes)
        self._channel = open_channel(address, self._access)
        self._stub: Any = ExperienceServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._closed = threading.Event()
        self._owner = Owner()
        self._calls: set[Any] = set()
        self.position: Position | None = None
        self.missed = 0
        self.restarts = 0
        self.reconnects = 0

    # --- Receiving ------------------------------------------------------------------------------------------------

    def stream_experiences(
        self,
        game_ids: Collection[str] | None = None,
        player_ids: Collection[int] | None = None,
        batch_size: int | None = 32,
        follow: bool = True,
        *,
        min_turn: int = 0,
        start: str | int = "oldest",
        resume: Position | Mapping[str, Any] | None = None,
        max_batch_wait_ms: int = 100,
        shard: int = 0,
        shards: int = 1,
        packed: bool = True,
    ) -> Iterator[ExperienceBatch]:
        """Yield experiences in batches; their ``sequence`` is their number in the stream.

        Args:
            game_ids: Only of these games.
            player_ids: Only of these players.
            batch_size: Experiences of each batch but the last; None for batches as they come, which is the fastest.
            follow: Whether to go on with what is recorded later, for ever; else the end is that of what is there now.
            min_turn: Only from this turn on.
            start: ``"oldest"`` that is kept, ``"now"``, or the number of the first experience.
            resume: Where to go on instead, as ``position`` was.
            max_batch_wait_ms: How long the server may wait for more before it sends what it has.
            shard: Only games of this share...
            shards: ... of so many.
            packed: Whether experiences come as boards. Else they come as the tensors of ``Experience``, of the standard
                observation only, which is much slower, and boards are made of what the player saw.

        Raises:
            ConfigError: If an argument is not what it should be, or the server says so.
            StateError: After ``close``, or in a process that was forked off the one that made the consumer.
            StorageError: If the server cannot be reached, refuses, or sends what is none of its messages.
        """
        self._owner.check("consumer")
        if self._closed.is_set():
            raise StateError("stream_experiences: expected an open consumer, got one that is closed")
        if batch_size is not None:
            check_integer("batch_size", batch_size, 1, 2**31)
        if isinstance(start, str) and start not in STARTS:
            raise ConfigError(f"start: expected one of {', '.join(STARTS)}, or a number, got {start!r}")
        if not isinstance(start, str):
            check_integer("start", start, 0, 2**62)
        check_integer("max_batch_wait_ms", max_batch_wait_ms, 0, 600_000)
        check_integer("shards", shards, 1, 4096)
        check_integer("shard", shard, 0, shards - 1)
        selection = ExperienceFilter.of(game_ids, player_ids, min_turn)
        request = pb.StreamExperiencesRequest(
            game_ids=sorted(selection.game_ids or ()),
            player_ids=sorted(selection.player_ids or ()),
            min_turn=min_turn,
            follow=follow,
            max_batch_wait_ms=max_batch_wait_ms,
            encoding=pb.PACKED if packed else pb.RECORDS,
            full_actions=True,
            start=STARTS[start] if isinstance(start, str) else pb.OLDEST,
            resume=not isinstance(start, str),
            from_sequence=0 if isinstance(start, str) else start,
            shard=shard,
            shards=shards,
            max_message_bytes=self._access.max_message_bytes,
        )
        self.position = None if resume is None else as_config("resume", Position, resume)
        return self._handed_out(self._received(request), batch_size)

    def _handed_out(
        self, parts: Iterator[tuple[ExperienceBatch | None, Position]], size: int | None
    ) -> Iterator[ExperienceBatch]:
        """Yield what was received, and keep the position behind it."""
        if size is None:
            for batch, position in parts:
                self.position = position
                if batch is not None:
                    yield batch
            return
        for batch, position in rechunked(parts, size):
            self.position = position
            yield batch

    def _received(self, request: pb.StreamExperiencesRequest) -> Iterator[tuple[ExperienceBatch | None, Position]]:
        """Yield the experiences of messages, each with the position behind them, over as many connections as it takes."""
        at = self.position
        failures = 0
        while not self._closed.is_set():
            self._owner.check("consumer")
            if at is not None:
                request.resume, request.from_sequence, request.stream_id = True, at.next_sequence, at.stream_id
            call = self._stub.StreamExperienceBatches(request, metadata=self._access.metadata)
            self._calls.add(call)
            try:
                for message in call:
                    failures = 0
                    self.missed += message.missed
                    batch = unpacked(message, request.from_sequence if at is None else at.next_sequence)
                    at = Position(message.stream_id, message.next_sequence)
                    yield batch, at
            except grpc.RpcError as error:
                if self._closed.is_set():
                    return
                at, failures = self._after(error, at, request, failures)
            else:
                return
            finally:
                self._calls.discard(call)
                call.cancel()

    def _after(
        self, error: Any, at: Position | None, request: pb.StreamExperiencesRequest, failures: int
    ) -> tuple[Position | None, int]:
        """Wait until there is a point in another try, and return where it begins; raise if there is none."""
        code, text = error.code(), error.details()
        if code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OUT_OF_RANGE) and at is not None:
            logger.warning("%s has another stream than %s: %s; going on with its oldest", self.address, at, text)
            self.restarts += 1
            request.resume, request.from_sequence, request.stream_id, request.start = False, 0, "", pb.OLDEST
            return None, failures
        failures += 1
        if code not in PASSING or failures >= self.retry.tries:
            kind = ConfigError if code == grpc.StatusCode.INVALID_ARGUMENT else StorageError
            raise kind(f"{self.address}: expected a stream of experience, got {code.name}: {text}") from error
        self.reconnects += 1
        wait = min(self.retry.first_wait * 2 ** (failures - 1), self.retry.max_wait)
        logger.warning("%s: %s: %s; trying again in %.1f s", self.address, code.name, text, wait)
        self._closed.wait(wait * (1 + np.random.default_rng().random() / 2))
        return at, failures

    # --- Other calls ----------------------------------------------------------------------------------------------

    def submit(self, batch: ExperienceBatch) -> Submitted:
        """Send experiences to the server, and return what became of them; those taken are safe as its source makes them.

        Raises:
            StorageError: If the server cannot be reached, or takes nothing now.
        """
        accepted, rejected, errors = 0, 0, []
        for low in range(0, len(batch), MAX_EXPERIENCES):
            for data in self._packed(batch.slice(low, low + MAX_EXPERIENCES)):
                answer = self._called(self._stub.SubmitExperiences, pb.SubmitExperiencesRequest(packed=[data]))
                accepted, rejected = accepted + answer.accepted, rejected + answer.rejected
                errors += answer.errors
        return Submitted(accepted, rejected, tuple(errors))

    def _packed(self, batch: ExperienceBatch) -> Iterator[bytes]:
        """Yield a batch packed, in as many parts as it takes for each to fit into a message."""
        data = encode_batch(batch.compact())
        middle = len(batch) // 2
        if not middle or len(data) + SMALL <= self._access.max_message_bytes:
            yield data
            return
        yield from self._packed(batch.slice(0, middle))
        yield from self._packed(batch.slice(middle, len(batch)))

    def stats(self, game_ids: Sequence[str] = (), place_only: bool = False) -> pb.GetExperienceStatsResponse:
        """Return what the server keeps, of all games or of some.

        Args:
            game_ids: Which; all without.
            place_only: Leave out whatever the server would have to read its experiences for: what is left are the numbers that
                it keeps, and how far each consumer lags behind.

        Raises:
            StorageError: If the server cannot be reached, or refuses.
        """
        request = pb.GetExperienceStatsRequest(
            game_ids=game_ids, place_only=place_only, max_message_bytes=self._access.max_message_bytes
        )
        answer: pb.GetExperienceStatsResponse = self._called(self._stub.GetExperienceStats, request)
        return answer

    def _called(self, method: Callable[..., Any], request: Any) -> Any:
        self._owner.check("consumer")
        try:
            return method(request, metadata=self._access.metadata, timeout=60.0)
        except grpc.RpcError as error:
            code: Any = error.code()
            raise StorageError(f"{self.address}: expected an answer, got {code.name}: {error.details()}") from error

    def close(self) -> None:
        """End all streams, from any thread; a forked child leaves its parent's alone."""
        self._closed.set()
        if not self._owner.is_here:
            return
        for call in list(self._calls):
            call.cancel()
        self._channel.close()

    def __enter__(self) -> Self:
        """Return the consumer."""
        return self

    def __exit__(self, *details: object) -> None:
        """Close it."""
        self.close()
