"""Defines ``SubmittingSink``: writes experience to a server, so that ``grpc://host:port`` can be recorded to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc

from generals_env.arguments import as_config, check_integer
from generals_env.concurrency.interrupts import raise_pending
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import ClosingSink, checked_sink
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.stream.client.channel import Access, open_channel
from generals_env.recorders.stream.client.server_address import TOKEN_VARIABLE
from generals_env.recorders.stream.client.submission import Submitted, is_repeat, submit_requests
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub

__all__ = ["SubmittingSink", "open_server"]

logger = logging.getLogger(__name__)

ANSWER = 60.0  # seconds in which a server must answer

SLICE = 0.05  # seconds between checks for deferred signals

#: Errors worth a retry. After some of these the server may have written the experiences: a repeat is then its answer.
TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # the rate of requests, a full buffer, or other submissions that take long
)


@pickled_as("generals_env.recorders")
class SubmittingSink(NotCopied, ClosingSink):
    """Writes experience to a server; ``write`` returns when the source of the server has it.

    A call whose answer is lost is repeated. The server recognizes experiences that it has by game, player and turn, so that no
    experience is written twice.

    In a process that was forked off the one that made the sink, ``write`` and ``flush`` raise ``StateError``, and ``close``
    does nothing.

    Example:
        >>> with ExperienceRecorder(generals_env.make(), "grpc://127.0.0.1:50051") as env:  # doctest: +SKIP
        ...     env.reset(seed=1)

    Attributes:
        address: The address of the server.
        accepted: Experiences that the server has written, of the batches for which ``write`` has returned.
        repeated: Experiences of these batches that it had before, for example of an earlier run with the same ``run_id``.
    """

    _instead = "make another SubmittingSink of its address"

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
            token: The token of the server; by default that of the environment variable ``GENERALS_ENV_TOKEN``, if it is set.
            root_certificates: PEM file with CA certificates for the server; enables TLS. ``grpcs://`` takes those of gRPC by
                default, which the environment variable ``GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`` changes.
            certificate: PEM file with the certificate of the client, for servers that require one.
            key: PEM file with its private key.
            retry: How often, and after which waits, to repeat a call that fails; by default for some ten seconds. ``write``
                blocks for this time while the server is gone.
            max_message_bytes: Maximum size of a message; not above that of the server.

        Raises:
            ConfigError: If an argument is invalid.
        """
        check_integer("max_message_bytes", max_message_bytes, 2**16, 2**30)
        self.address = address
        self.retry = as_config("retry", Retry, retry, Retry(tries=10, first_wait=0.1, max_wait=2.0))
        token = token or os.environ.get(TOKEN_VARIABLE) or None
        self._access = Access(token, root_certificates, certificate, key, max_message_bytes)
        self._channel = open_channel(address, self._access)
        self._stub: Any = ExperienceServiceStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._closed = False
        self._owner = Owner()
        self._partly_written = False  # whether the last ``write`` failed, so that the server may have a part of the batch
        self.accepted = 0
        self.repeated = 0

    def check(self) -> None:
        """Check that the server answers, accepts the token and takes submissions.

        Raises:
            ConfigError: If it rejects the request as invalid.
            StateError: After ``close``, or in a forked process.
            StorageError: If it cannot be reached, or rejects the call.
        """
        self._require_open("check")
        self._submit(pb.SubmitExperiencesRequest())

    def write(self, batch: ExperienceBatch) -> int:
        """Submit a batch; return when the server has all of it.

        Returns:
            How many experiences the server has written; those that it had before are not counted.

        Raises:
            ConfigError: If the server rejects experiences as invalid; it keeps the others.
            StateError: After ``close``, or in a forked process.
            StorageError: If the server cannot be reached, or rejects the call. The batch may be written again: experiences that
                the server has are not doubled.
        """
        written, repeated = 0, 0
        try:
            for answer in self.submit(batch):
                self._require_accepted(answer)
                written, repeated = written + answer.accepted, repeated + answer.rejected
        except BaseException:
            self._partly_written = True
            raise
        self._partly_written = False
        self.accepted += written
        self.repeated += repeated
        if repeated:
            logger.warning("%s has had %d of %d experiences before: use another run_id", self.address, repeated, len(batch))
        return written

    def _require_accepted(self, answer: Submitted) -> None:
        refused = [reason for reason in answer.errors if not is_repeat(reason)]
        if refused:
            raise ConfigError(
                f"{self.address}: expected all experiences to be accepted, got {len(refused)} rejected, "
                f"the first one {refused[0]}"
            )

    def submit(self, batch: ExperienceBatch) -> Iterator[Submitted]:
        """Submit a batch in parts; yield the answer to each. Rejected experiences are reported in the answers only.

        Raises:
            ConfigError: If the server rejects a whole part as invalid.
            StateError: After ``close``, or in a forked process.
            StorageError: If the server cannot be reached, or rejects the call.
        """
        self._require_open("write")
        for request in submit_requests(batch, self._access.max_message_bytes):
            yield self._submit(request)

    def _submit(self, request: pb.SubmitExperiencesRequest) -> Submitted:
        """Send a request as often as needed, and return the answer; what an earlier try has written counts as accepted."""
        failures = 0

        def attempt() -> Any:
            nonlocal failures
            try:
                return self._answer(request)
            except grpc.RpcError as error:
                failures += 1
                failure = self._failure(error)
                if error.code() not in TRANSIENT:
                    return failure  # raised below: ``retry`` would repeat the call
                raise failure from error

        answer = self.retry.call(f"{self.address}: submit", attempt)
        if isinstance(answer, Exception):
            raise answer
        if not failures and not self._partly_written:
            return Submitted(answer.accepted, answer.rejected, tuple(answer.errors))
        refused = tuple(reason for reason in answer.errors if not is_repeat(reason))
        return Submitted(answer.accepted + answer.rejected - len(refused), len(refused), refused)

    def _answer(self, request: pb.SubmitExperiencesRequest) -> Any:
        """Return the answer to a request; a deferred signal ends the wait."""
        raise_pending()
        call = self._stub.SubmitExperiences.future(request, metadata=self._access.metadata, timeout=ANSWER)
        try:
            while True:
                try:
                    return call.result(timeout=SLICE)
                except grpc.FutureTimeoutError:
                    raise_pending()
        finally:
            call.cancel()

    def _failure(self, error: Any) -> ConfigError | StorageError:
        """Return the exception for a failed call."""
        code, text = error.code(), error.details()
        if code == grpc.StatusCode.INVALID_ARGUMENT:
            return ConfigError(f"{self.address}: expected experiences to be accepted, got {text}")
        advice = {
            grpc.StatusCode.UNAVAILABLE: ": check the address and that the server runs",
            grpc.StatusCode.UNAUTHENTICATED: f": pass the token of the server, or set {TOKEN_VARIABLE}",
        }.get(code, "")
        return StorageError(f"{self.address}: expected experiences to be accepted, got {code.name}: {text}{advice}")

    def _require_open(self, name: str) -> None:
        self._owner.check("sink")
        if self._closed:
            raise StateError(f"{name}: expected an open sink, got one that is closed: make a new one")

    def flush(self) -> None:
        """Do nothing: the server has all that was written.

        Raises:
            StateError: In a forked process.
        """
        self._owner.check("sink")

    def close(self) -> None:
        """Disconnect. In a forked child it does not touch the connection."""
        if not self._owner.is_here:
            return
        self._closed = True
        self._channel.close()


def open_server(address: str) -> SubmittingSink:
    """Return a sink for an address, after ``check``.

    Raises:
        ConfigError: If the address is invalid.
        StorageError: If the server cannot be reached, or takes no submissions.
    """
    return checked_sink(SubmittingSink(address))
