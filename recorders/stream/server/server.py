"""The server: a buffer or a log for trainers anywhere."""

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
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.server.buffer_source import BufferSource
from generals_env.recorders.stream.server.health import HealthMonitor
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.log_source import LogSource
from generals_env.recorders.stream.server.security import AuthInterceptor, checked_address, credentials_of
from generals_env.recorders.stream.server.service import SERVICE, Service
from generals_env.recorders.stream.server.source import ExperienceSource
from generals_env.recorders.stream.server.stream_sender import StreamStatus
from generals_env.recorders.stream.server.warm_up import said_if_long, sample, warm

__all__ = ["ExperienceServer"]

CALLS = 16  # threads for what is no stream, and for telling those that are too many

KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),  # a consumer whose machine is gone leaves its place within 40 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # a minute, otherwise, whatever the line above says
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


@pickled_as("generals_env.recorders")
class ExperienceServer(NotCopied):
    """Serves ``generals.experience.v1``, reflection and ``grpc.health.v1`` over a buffer or a log.

    It runs in threads beside whatever fills the source, or alone. Whoever made the source closes it, after the server has
    stopped; so a recorder, which closes what it writes to, is left last. A buffer that blocks when it is full goes on when all
    consumers that are connected have taken the oldest experiences, or when it is drained; it waits while there are none.
    Submissions wait for room for ten seconds.

    Example:
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
    ) -> None:
        """Set the server up; it answers from ``start`` on.

        Args:
            source: What is served, and what submissions are written to.
            address: Host and port; with port 0 the system chooses one. Others than this machine need TLS.
            certificate: File in PEM with the certificate of the server.
            key: File in PEM with its key.
            client_ca: File in PEM with certificates that vouch for clients; each has to show one then.
            token: What every call but ``Check`` of health has to bring as ``authorization: Bearer <token>``.
            limits: How much others may take: ``Limits``, or a mapping of its fields.

        Raises:
            ConfigError: If an argument is not what it should be, or nobody can listen at the address.
            StorageError: If the log cannot be read.
        """
        self.limits = as_config("limits", Limits, limits, Limits())
        credentials = credentials_of(certificate, key, client_ca)
        checked_address(address, credentials is not None)
        if token is not None and not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            raise ConfigError("token: expected printable ASCII, got something else")
        self._feed = feed_of(source, self.limits)
        self._stopping = threading.Event()
        self._owner = Owner()
        self._state = "new"
        self._changing = threading.Lock()
        threads = self.limits.max_connections + CALLS
        self._pool = ThreadPoolExecutor(threads, "stream")
        self._server = grpc.server(
            self._pool,
            interceptors=(AuthInterceptor(token, self.limits.max_requests_per_second),),
            maximum_concurrent_rpcs=threads,
            options=(
                *KEEPALIVE,
                ("grpc.so_reuseport", 0),  # else two servers share a port, and clients meet either
                ("grpc.max_send_message_length", self.limits.max_message_bytes),
                ("grpc.max_receive_message_length", self.limits.max_message_bytes),
            ),
        )
        self._service = Service(self._feed, self.limits, self._stopping)
        self._server.add_generic_rpc_handlers((self._service.handlers,))
        servicer = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._pool)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, described())
        self._watch = HealthMonitor(self._feed, servicer, self._stopping)
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise ConfigError(f"address: expected one that is free, got {address!r} ({error})") from error
        self.address = f"{address.rpartition(':')[0]}:{self.port}"

    def start(self) -> Self:
        """Begin to answer, once all kernels are compiled: the first time that takes a minute, and the program's log says so.

        Raises:
            StateError: If it did before, or in a process that was forked off the one that made the server.
        """
        self._owner.check("server")
        with said_if_long():
            batch = sample()
            warm(batch)
            self._feed.warm(batch)
        with self._changing:
            if self._state != "new":
                raise StateError(f"start: expected a new server, got one that is {self._state}")
            self._state = "started"
        self._watch.start()
        self._server.start()
        return self

    def stop(self, grace: float = 5.0) -> None:
        """Send what is there, end every stream with ``UNAVAILABLE``, flush the source, and answer no more.

        In a forked child this does nothing: it has none of the server's threads, and its parent's goes on.

        Args:
            grace: Seconds that consumers have to take what is there.

        Raises:
            ConfigError: If ``grace`` is no number of seconds.
            StorageError: If the source cannot be flushed.
        """
        if not is_number(grace) or grace < 0:
            raise ConfigError(f"grace: expected seconds, got {grace!r}")
        if not self._owner.is_here:
            return
        with self._changing:
            before, self._state = self._state, "stopped"
        if before == "stopped":
            return
        self._stopping.set()
        if before == "started":
            self._watch.join()
        self._server.stop(grace).wait()
        self._pool.shutdown(wait=False)  # a submission may wait for room in a buffer for some seconds more
        self._feed.flush()

    @property
    def streams(self) -> list[StreamStatus]:
        """How far each consumer is, and how far it lags behind."""
        return self._service.streams

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the server is stopped, but not longer than that; return whether it is.

        Raises:
            StateError: In a process that was forked off the one that made the server.
        """
        self._owner.check("server")
        return not self._server.wait_for_termination(seconds)

    def __enter__(self) -> Self:
        """Start it, if it is not."""
        return self.start() if self._state == "new" else self

    def __exit__(self, *details: object) -> None:
        """Stop it."""
        self.stop()


def described() -> DescriptorPool:
    """Return the descriptors of all services of the server, for reflection."""
    pool = DescriptorPool()
    for file in (timestamp_pb2.DESCRIPTOR, pb.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        pool.AddSerializedFile(file.serialized_pb)
    return pool


def feed_of(source: ReplayBuffer | ExperienceLog, limits: Limits) -> ExperienceSource:
    """Return what a source is read by.

    Raises:
        ConfigError: If it is neither a buffer nor a log.
    """
    if isinstance(source, ReplayBuffer):
        return BufferSource(source, limits.cache_bytes)
    if isinstance(source, ExperienceLog):
        return LogSource(source)
    raise ConfigError(f"source: expected a ReplayBuffer or an ExperienceLog, got {type(source).__name__}")
