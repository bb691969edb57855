"""Receives experience from a server, each once and in order, with automatic reconnection; and submits experience to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np

from generals_env.arguments import as_config, check_integer
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.filter import ExperienceFilter
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.stream.client.channel import Access, open_channel
from generals_env.recorders.stream.client.message_decoder import decode_message
from generals_env.recorders.stream.client.position import Position
from generals_env.recorders.stream.client.rebatch import rebatch
from generals_env.recorders.stream.client.submission import Submitted, submit_requests
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.protocol.message_limits import MAX_WAIT_MS
from generals_env.recorders.stream.protocol.overflow import OVERFLOWS

__all__ = ["ExperienceConsumer", "Position", "Submitted"]

logger = logging.getLogger(__name__)

STARTS = {"oldest": pb.OLDEST, "now": pb.NOW}

#: Errors worth a retry: the server is unreachable, or was stopped while it answered.
TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


@pickled_as("generals_env.recorders")
class ExperienceConsumer(NotCopied):
    """Receives experience from a server, in order, each once.

    When the connection breaks or the server restarts, the consumer reconnects and continues after the last experience, without
    gap or repeat as long as the server still holds the next one. A server over a log does. A server over a buffer loses its
    experiences when it ends: then the consumer logs a warning, counts it in ``restarts``, and continues with the oldest
    experience of the new stream.

    Examples:
        >>> with ExperienceConsumer("127.0.0.1:50051") as consumer:  # doctest: +SKIP
        ...     for batch in consumer.stream_experiences(batch_size=256):
        ...         states = batch.states()

    Attributes:
        address: Host and port of the server.
        position: Position after the last experience that was yielded; None before the first message.
        missed: Experiences that the server dropped before they were sent, or skipped by the stream's policy.
        restarts: How often the server had a new stream after a reconnection.
        reconnects: How often the connection was tried again.
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
        """Prepare to connect; the first call connects.

        Args:
            address: ``host:port``, ``grpc://host:port``, or ``grpcs://host:port`` for TLS.
            token: Token sent with every call.
            root_certificates: PEM file with CA certificates for the server; enables TLS.
            certificate: PEM file with the certificate of the client, for servers that require one.
            key: PEM file with its private key.
            retry: How often, and after which waits, to reconnect while nothing is received; by default for about two minutes.
            max_message_bytes: Maximum size of a message.

        Raises:
            ConfigError: If an argument is invalid.
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
        max_batch_wait_ms: int | None = None,
        overflow: str | None = None,
        max_lag: int | None = None,
        shard: int = 0,
        shards: int = 1,
        packed: bool = True,
    ) -> Iterator[ExperienceBatch]:
        """Yield experiences in batches; the column ``sequence`` is their index in the stream.

        Args:
            game_ids: Only experiences of these games.
            player_ids: Only experiences of these players.
            batch_size: Experiences of each batch but the last; None for batches as they arrive, which is the fastest.
            follow: Whether to go on for ever with experiences that are recorded later; else the stream ends with those that
                the server holds now.
            min_turn: Only experiences from this turn on.
            start: ``"oldest"`` experience that the server holds, ``"now"``, or the sequence of the first experience.
            resume: A former ``position`` to continue from, instead of ``start``.
            max_batch_wait_ms: Maximum time that the server waits for more experiences before it sends a smaller batch; its own
                value if None or 0, which is 100 unless it was changed.
            overflow: What happens when this consumer cannot keep up; the server's own value if None. ``"block"``: a buffer that
                can wait keeps what it has not received. ``"drop_oldest"``: more than ``max_lag`` behind, it continues with the
                newest ``max_lag`` experiences. ``"drop_newest"``: it gets the oldest ``max_lag``, and misses those that come
                meanwhile. With the latter two no writer waits for it. ``missed`` counts what was skipped.
            max_lag: How many experiences it may be behind; the server's own value if None.
            shard: Only games of the shard with this index...
            shards: ... of this number of shards.
            packed: Whether experiences are sent as boards. Else they are sent as tensors in messages ``Experience``: only
                standard observations, much slower, and boards are reconstructed from what the player saw.

        Raises:
            ConfigError: If an argument is invalid.
            StateError: After ``close``, or in a process forked off the one that created the consumer.
            StorageError: If the server cannot be reached, rejects the call, or sends a malformed message.
        """
        self._owner.check("consumer")
        if self._closed.is_set():
            raise StateError("stream_experiences: expected an open consumer, got one that is closed: make another")
        if batch_size is not None:
            check_integer("batch_size", batch_size, 1, 2**31)
        if isinstance(start, str) and start not in STARTS:
            raise ConfigError(f"start: expected one of {', '.join(STARTS)}, or a sequence, got {start!r}")
        if not isinstance(start, str):
            check_integer("start", start, 0, 2**62)
        check_integer("max_batch_wait_ms", max_batch_wait_ms or 0, 0, MAX_WAIT_MS)
        if overflow is not None and overflow not in OVERFLOWS:
            raise ConfigError(f"overflow: expected one of {', '.join(OVERFLOWS)}, got {overflow!r:.80}")
        if max_lag is not None:
            check_integer("max_lag", max_lag, 1, 2**62)
        check_integer("shards", shards, 1, 4096)
        check_integer("shard", shard, 0, shards - 1)
        selection = ExperienceFilter.of(game_ids, player_ids, min_turn)
        request = pb.StreamExperiencesRequest(
            game_ids=sorted(selection.game_ids or ()),
            player_ids=sorted(selection.player_ids or ()),
            min_turn=min_turn,
            follow=follow,
            max_batch_wait_ms=max_batch_wait_ms or 0,
            overflow=pb.SERVER_DEFAULT if overflow is None else OVERFLOWS[overflow],
            max_lag=max_lag or 0,
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
        return self._yield_batches(self._receive(request), batch_size)

    def _yield_batches(
        self, received: Iterator[tuple[ExperienceBatch | None, Position]], size: int | None
    ) -> Iterator[ExperienceBatch]:
        """Yield batches of ``size``, or as received for None, and update ``position``."""
        if size is None:
            for batch, position in received:
                self.position = position
                if batch is not None:
                    yield batch
            return
        for batch, position in rebatch(received, size):
            self.position = position
            yield batch

    def _receive(self, request: pb.StreamExperiencesRequest) -> Iterator[tuple[ExperienceBatch | None, Position]]:
        """Yield the experiences of each message with the position after them; reconnect as often as needed."""
        position = self.position
        failures = 0
        while not self._closed.is_set():
            self._owner.check("consumer")
            if position is not None:
                request.resume, request.from_sequence, request.stream_id = True, position.next_sequence, position.stream_id
            call = self._stub.StreamExperienceBatches(request, metadata=self._access.metadata)
            self._calls.add(call)
            try:
                for message in call:
                    failures = 0
                    self.missed += message.missed
                    batch = decode_message(message, request.from_sequence if position is None else position.next_sequence)
                    position = Position(message.stream_id, message.next_sequence)
                    yield batch, position
            except grpc.RpcError as error:
                if self._closed.is_set():
                    return
                position, failures = self._wait_to_retry(error, position, request, failures)
            else:
                return
            finally:
                self._calls.discard(call)
                call.cancel()

    def _wait_to_retry(
        self, error: Any, position: Position | None, request: pb.StreamExperiencesRequest, failures: int
    ) -> tuple[Position | None, int]:
        """Wait before the next try, and return its position and the count of failures; raise if no retry can help."""
        code, text = error.code(), error.details()
        if code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OUT_OF_RANGE) and position is not None:
            logger.warning(
                "%s has another stream than %s: %s; continuing with its oldest experience", self.address, position, text
            )
            self.restarts += 1
            request.resume, request.from_sequence, request.stream_id, request.start = False, 0, "", pb.OLDEST
            return None, failures
        failures += 1
        if code not in TRANSIENT or failures >= self.retry.tries:
            kind = ConfigError if code == grpc.StatusCode.INVALID_ARGUMENT else StorageError
            raise kind(f"{self.address}: expected a stream of experience, got {code.name}: {text}{advice(code)}") from error
        self.reconnects += 1
        wait = min(self.retry.first_wait * 2 ** (failures - 1), self.retry.max_wait)
        logger.warning("%s: %s: %s; trying again in %.1f s", self.address, code.name, text, wait)
        self._closed.wait(wait * (1 + np.random.default_rng().random() / 2))
        return position, failures

    # --- Other calls ----------------------------------------------------------------------------------------------

    def submit(self, batch: ExperienceBatch) -> Submitted:
        """Send experiences to the server; those accepted are as durable as its source makes them.

        Raises:
            StorageError: If the server cannot be reached, or rejects the call.
        """
        accepted, rejected, errors = 0, 0, []
        for request in submit_requests(batch, self._access.max_message_bytes):
            answer = self._call(self._stub.SubmitExperiences, request)
            accepted, rejected = accepted + answer.accepted, rejected + answer.rejected
            errors += answer.errors
        return Submitted(accepted, rejected, tuple(errors))

    def stats(self, game_ids: Sequence[str] = (), place_only: bool = False) -> pb.GetExperienceStatsResponse:
        """Return statistics of the experiences that the server holds.

        Args:
            game_ids: Games to count; all if empty.
            place_only: Return only the span of sequences and the lag of each consumer, for which the server reads nothing.

        Raises:
            StorageError: If the server cannot be reached, or rejects the call.
        """
        request = pb.GetExperienceStatsRequest(
            game_ids=game_ids, place_only=place_only, max_message_bytes=self._access.max_message_bytes
        )
        answer: pb.GetExperienceStatsResponse = self._call(self._stub.GetExperienceStats, request)
        return answer

    def _call(self, method: Callable[..., Any], request: Any) -> Any:
        self._owner.check("consumer")
        try:
            return method(request, metadata=self._access.metadata, timeout=60.0)
        except grpc.RpcError as error:
            code: Any = error.code()
            raise StorageError(
                f"{self.address}: expected an answer, got {code.name}: {error.details()}{advice(code)}"
            ) from error

    def close(self) -> None:
        """End all streams and disconnect; can be called from any thread. In a forked child it does not touch the connection."""
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
        """Close the consumer."""
        self.close()


def advice(code: grpc.StatusCode) -> str:
    """Return what to do about a status, to be appended to an error; empty where the server's text says it."""
    if code in TRANSIENT:
        return ": check the address and that the server runs, or raise retry.tries"
    return ": pass the token of the server" if code == grpc.StatusCode.UNAUTHENTICATED else ""
