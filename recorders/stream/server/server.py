"""Runs the gRPC server that streams experience from a buffer or a log to trainers, and accepts submissions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from generals_env.arguments import as_config, is_number
from generals_env.concurrency.process_owner import Owner
from generals_env.errors import ConfigError, StateError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.buffers.replay_buffer import ReplayBuffer
from generals_env.recorders.log import ExperienceLog
from generals_env.recorders.sinks.insert_limiter import InsertLimiter
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.server.buffer_source import BufferSource
from generals_env.recorders.stream.server.experience_source import ExperienceSource
from generals_env.recorders.stream.server.health import HealthMonitor
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.log_source import LogSource
from generals_env.recorders.stream.server.security import AuthInterceptor, check_address, load_credentials
from generals_env.recorders.stream.server.service import SERVICE, Service
from generals_env.recorders.stream.server.stream_counters import ServerTotals
from generals_env.recorders.stream.server.stream_defaults import CurrentDefaults, StreamDefaults
from generals_env.recorders.stream.server.stream_sender import StreamStatus
from generals_env.recorders.stream.server.warm_up import sample_batch, warm_up, warn_if_slow

__all__ = ["ExperienceServer"]

UNARY_THREADS = 16  # threads for unary calls, and for rejecting streams above the limit

KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),  # a consumer whose machine is unreachable frees its slot within 40 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # else a minute, regardless of the line above
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


@pickled_as("generals_env.recorders")
class ExperienceServer(NotCopied):
    """Serves ``generals.experience.v1``, reflection and ``grpc.health.v1`` over a buffer or a log.

    It runs in threads of the process that holds the source. It does not close the source: close it after the server has
    stopped, so leave a recorder, which closes its sink, last. A full buffer with ``overflow="block"`` continues when all
    connected consumers have received its oldest experiences, or when it is drained; without consumers it waits. Submissions
    wait up to ten seconds for free capacity.

    Examples:
        >>> buffer = ReplayBuffer(1_000_000)  # doctest: +SKIP
        >>> with ExperienceRecorder(generals_env.make_vec(64), buffer) as env, ExperienceServer(buffer) as server:
        ...     env.play(1000, ("expander", "random"))
    """

    _instead = "make another ExperienceServer in the other process, or connect to its address"

    def __init__(
        self,
        source: ReplayBuffer | ExperienceLog,
        address: str = "127.0.0.1:50051",
        *,
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        client_ca: str | Path | None = None,
        token: str | None = None,
        limits: Limits | Mapping[str, Any] | None = None,
        defaults: StreamDefaults | Mapping[str, Any] | None = None,
        limiter: InsertLimiter | None = None,
    ) -> None:
        """Create the server; it answers after ``start``.

        Args:
            source: The buffer or log to serve; submissions are written to it.
            address: Host and port; with port 0 the system chooses one. Addresses other than loopback need TLS.
            certificate: PEM file with the certificate of the server.
            key: PEM file with its private key.
            client_ca: PEM file with CA certificates for clients; if given, each client must present a certificate.
            token: Every call but ``Check`` of health must send it as ``authorization: Bearer <token>``.
            limits: Limits of the server: ``Limits``, or a mapping of its fields.
            defaults: What a stream gets where its request names no value: ``StreamDefaults``, or a mapping of its fields.
            limiter: Makes submissions wait for the learner, see ``InsertLimiter``, up to ten seconds as for free capacity.

        Raises:
            ConfigError: If an argument is invalid, or the server cannot listen at the address.
            StorageError: If the log cannot be read.
        """
        self.limits = as_config("limits", Limits, limits, Limits())
        self._defaults = CurrentDefaults(defaults)
        credentials = load_credentials(certificate, key, client_ca)
        check_address(address, credentials is not None)
        if token is not None and not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            raise ConfigError("token: expected printable ASCII, got something else: use one of secrets.token_urlsafe()")
        self._source = as_experience_source(source, self.limits)
        self._stopping = threading.Event()
        self._owner = Owner()
        self._state = "new"
        self._changing = threading.Lock()
        threads = self.limits.max_connections + UNARY_THREADS
        self._pool = ThreadPoolExecutor(threads, "stream")
        self._server = grpc.server(
            self._pool,
            interceptors=(AuthInterceptor(token, self.limits.max_requests_per_second),),
            maximum_concurrent_rpcs=threads,
            options=(
                *KEEPALIVE,
                ("grpc.so_reuseport", 0),  # else two servers can share a port, and clients reach either
                ("grpc.max_send_message_length", self.limits.max_message_bytes),
                ("grpc.max_receive_message_length", self.limits.max_message_bytes),
            ),
        )
        self._service = Service(self._source, self.limits, self._stopping, self._defaults, limiter)
        self._server.add_generic_rpc_handlers((self._service.handlers,))
        servicer = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._pool)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, service_descriptors())
        self._health = HealthMonitor(self._source, servicer, self._stopping)
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise ConfigError(
                f"address: expected one that is free, got {address!r} ({error}): use port 0 for any free port"
            ) from error
        self.address = f"{address.rpartition(':')[0]}:{self.port}"

    def start(self) -> Self:
        """Compile all kernels (about a minute the first time, with a warning in the program's log), then answer calls.

        Raises:
            StateError: If it was started before, or in a process forked off the one that created the server.
        """
        self._owner.check("server")
        with warn_if_slow():
            batch = sample_batch()
            warm_up(batch)
            self._source.warm(batch)
        with self._changing:
            if self._state != "new":
                raise StateError(f"start: expected a new server, got one that is {self._state}: make another ExperienceServer")
            self._state = "started"
        self._health.start()
        self._server.start()
        return self

    def stop(self, grace: float = 5.0) -> None:
        """Send the remaining experiences, end every stream with ``UNAVAILABLE``, flush the source, and stop answering.

        In a forked child this does nothing: the server's threads run in the parent only.

        Args:
            grace: Seconds that consumers have to receive the remaining experiences.

        Raises:
            ConfigError: If ``grace`` is not a number of seconds.
            StorageError: If the source cannot be flushed.
        """
        if not is_number(grace) or grace < 0:
            raise ConfigError(f"grace: expected a number of seconds from 0, got {grace!r}")
        if not self._owner.is_here:
            return
        with self._changing:
            before, self._state = self._state, "stopped"
        if before == "stopped":
            return
        self._stopping.set()
        if before == "started":
            self._health.join()
        self._server.stop(grace).wait()
        self._pool.shutdown(wait=False)  # a submission may still wait for capacity of a buffer
        self._source.flush()

    @property
    def problem(self) -> str:
        """Why ``grpc.health.v1`` answers ``NOT_SERVING``; empty while the source works."""
        return self._health.published

    @property
    def streams(self) -> list[StreamStatus]:
        """The position of each consumer, how far it lags behind, and what was sent to it.

        Raises:
            StorageError: If a log cannot be read for the time of an experience.
        """
        return self._service.streams

    @property
    def totals(self) -> ServerTotals:
        """What was sent and submitted since the server was made."""
        return self._service.totals

    @property
    def defaults(self) -> StreamDefaults:
        """What a stream gets where its request names no value."""
        return self._defaults.value

    def change(self, **options: Any) -> StreamDefaults:
        """Change some of ``defaults`` of the running server, and return all of them.

        Streams that begin later get the new values. ``batch_timeout_ms`` also holds for running streams whose requests name no
        waiting time, from their next wait on.

        Args:
            **options: Fields of ``StreamDefaults``.

        Raises:
            ConfigError: If a value is invalid or a name unknown; then nothing changes.
        """
        return self._defaults.change(options)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the server is stopped, at most ``seconds``; return whether it is.

        Raises:
            StateError: In a process forked off the one that created the server.
        """
        self._owner.check("server")
        return not self._server.wait_for_termination(seconds)

    def __enter__(self) -> Self:
        """Start the server unless it was started."""
        return self.start() if self._state == "new" else self

    def __exit__(self, *details: object) -> None:
        """Stop the server."""
        self.stop()


def service_descriptors() -> DescriptorPool:
    """Return the descriptors of all services of the server, for reflection."""
    pool = DescriptorPool()
    for file in (timestamp_pb2.DESCRIPTOR, pb.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        pool.AddSerializedFile(file.serialized_pb)
    return pool


def as_experience_source(source: ReplayBuffer | ExperienceLog, limits: Limits) -> ExperienceSource:
    """Return the adapter of a buffer or a log.

    Raises:
        ConfigError: If the source is neither.
    """
    if isinstance(source, ReplayBuffer):
        return BufferSource(source, limits.cache_bytes)
    if isinstance(source, ExperienceLog):
        return LogSource(source)
    raise ConfigError(f"source: expected a ReplayBuffer or an ExperienceLog, got {type(source).__name__}: open the log first")
