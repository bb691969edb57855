"""Connects the sinks of a collector: from the recorder through metrics, validation and buffer to log, stream and files."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from prometheus_client.registry import Collector

from generals_env.errors import ConfigError, GeneralsError
from generals_env.operations.metrics.metered_sink import MeteredSink, SinkMetrics
from generals_env.operations.metrics.process_metrics import ProcessMetrics
from generals_env.operations.metrics.recording_metrics import RecordingMetrics
from generals_env.operations.metrics.source_metrics import (
    BufferMetrics,
    BufferState,
    LogMetrics,
    StorageMetrics,
    ValidationMetrics,
    folder_bytes,
    replay_buffer_state,
)
from generals_env.operations.metrics.stage_metrics import StageMetrics
from generals_env.operations.metrics.stream_metrics import StreamMetrics
from generals_env.operations.run.files import level_of, open_writer
from generals_env.operations.settings.models import Settings
from generals_env.recorders import (
    AdaptiveLevel,
    BufferedSink,
    DatasetWriter,
    ExperienceBatch,
    ExperienceLog,
    ExperienceServer,
    Limits,
    MultiSink,
    ReplayBuffer,
    Sink,
    ValidatingSink,
)
from generals_env.recorders.experience.sink import ClosingSink
from generals_env.recorders.experience.validation import Reason

__all__ = ["Pipeline", "open_log", "open_server", "token_of"]

logger = logging.getLogger(__name__)

GAP = Reason.SEQUENCE_GAP.label  # counted by validation, but no experience that was dropped


class Pipeline:
    """All sinks of a collector, opened from settings, and the server over the log.

    With a log, it is what is streamed, and the worker ``storage`` reads it to write files. Without one, a replay buffer is
    streamed, and files are written beside it.

    Attributes:
        top: The sink of the recorder.
        metrics: Measures all experience that was recorded.
        validating: Counts invalid experiences; None if they are not validated.
        buffered: The buffer between the games and the other sinks; None if there is no other sink.
        log: The log; None without.
        replay_buffer: The buffer that is streamed without a log; None otherwise.
        writer: Writes files without a log; None otherwise.
        level: Chooses the level of compression.
        server: The server; None without.
    """

    def __init__(self, settings: Settings, address: str | None = None) -> None:
        """Open all sinks and start the server.

        Args:
            settings: The settings.
            address: Replaces the address of the stream, with the port that an earlier worker has used.

        Raises:
            GeneralsError: If one cannot be opened.
        """
        collection = settings.collection
        self.level = level_of(settings)
        self.log = open_log(settings, self.level) if settings.log.enabled else None
        self.replay_buffer: ReplayBuffer | None = None
        self._ending = threading.Event()
        self.writer: DatasetWriter | None = None
        self.server: ExperienceServer | None = None
        if self.log is None and settings.streaming.enabled:
            self.replay_buffer = ReplayBuffer(collection.buffer_size, overflow=overflow_of(settings))
        if self.log is None and settings.storage.enabled:
            self.writer = open_writer(settings, self.level)
        sinks: list[Sink] = [sink for sink in (self.log, self.replay_buffer, self.writer) if sink is not None]
        self.metrics = RecordingMetrics(settings.metrics.per_game, settings.metrics.ended_games_seconds)
        self.sink_metrics, self.stages = SinkMetrics(), StageMetrics()
        self.stages.start()
        inner: Sink = MultiSink(sinks, overflow="block") if len(sinks) > 1 else sinks[0] if sinks else NoSink()
        self.buffered = BufferedSink(
            MeteredSink(inner, None, self.sink_metrics, "log" if self.log is not None else "sinks"),
            collection.buffer_size,
            collection.overflow,
            **sampling_of(settings),
        )
        metered = MeteredSink(self.buffered, self.metrics, self.sink_metrics, "record")
        self.validating = ValidatingSink(metered) if collection.validation else None
        self.top: Sink = SharedSink(self.validating or metered)
        source = self.log or self.replay_buffer
        if settings.streaming.enabled and source is not None:
            self.server = open_server(settings, source, address)
            self.server.start()
        self.collectors = self._make_collectors()

    def _make_collectors(self) -> list[Collector]:
        """Return the collectors of all metrics of this process."""
        buffers: dict[str, Callable[[], BufferState]] = {"collection": self._buffer_state}
        if self.replay_buffer is not None:
            buffers["stream"] = partial(replay_buffer_state, self.replay_buffer)
        found: list[Collector] = [
            self.metrics,
            self.sink_metrics,
            self.stages,
            BufferMetrics(buffers),
            ProcessMetrics("collector"),
        ]
        if self.log is not None:
            found.append(LogMetrics(self.log))
        if self.writer is not None:
            found.append(StorageMetrics(self.writer))
        if self.validating is not None:
            found.append(ValidationMetrics(self.validating))
        if self.server is not None:
            found.append(StreamMetrics(self.server))
        return found

    def _buffer_state(self) -> BufferState:
        """Return the state of the buffer between games and sinks."""
        stats = self.buffered.stats()
        dropped = {"drop_oldest": stats.dropped_oldest, "drop_newest": stats.dropped_newest, "sampled": stats.sampled_out}
        return BufferState(stats.size, stats.capacity, dropped)

    def status(self) -> dict[str, Any]:
        """Return figures for the live table, see ``Role``."""
        found: dict[str, Any] = {
            "problems": self.problems(),
            "buffer": asdict(self.buffered.stats()),
            "level": self.level.level,
        }
        if self.validating is not None:
            found["invalid"] = sum(count for reason, count in self.validating.counters.items() if reason != GAP)
        if self.log is not None:
            found["log"] = {"first": self.log.first, "next": self.log.last + 1, "bytes": folder_bytes(self.log.folder)}
        if self.server is not None:
            found |= {"address": self.server.address, "streams": [stream._asdict() for stream in self.server.streams]}
        return found

    def parts(self) -> dict[str, Any]:
        """Return buffers, log, server and writer for the debug endpoint."""
        found = {"buffer": self.buffered, "log": self.log, "replay buffer": self.replay_buffer, "writer": self.writer}
        return {name: part for name, part in {**found, "server": self.server}.items() if part is not None}

    def change(self, settings: Settings) -> None:
        """Take over live settings."""
        self.metrics.change(per_game=settings.metrics.per_game, ended_games_seconds=settings.metrics.ended_games_seconds)
        self.level.change(**settings.compression.model_dump())
        self.buffered.change(overflow=settings.collection.overflow, **sampling_of(settings))
        if self.replay_buffer is not None and not self._ending.is_set():
            self.replay_buffer.change(overflow_of(settings))
        if self.server is not None:
            self.server.change(**stream_defaults(settings))

    def end_waits(self, grace: float) -> None:
        """Let consumers make room in the replay buffer for some seconds more; after that games wait for them no longer.

        Without a consumer they would wait for ever, and the run could not end.
        """
        if self.replay_buffer is None or self._ending.is_set():
            return
        self._ending.set()
        timer = threading.Timer(grace, self.replay_buffer.change, ["drop_oldest"])
        timer.daemon = True
        timer.start()

    def close(self, grace: float) -> None:
        """Write what the buffer holds, send the rest to consumers, and close everything, also if a part fails.

        Raises:
            GeneralsError: The first error.
        """
        self.end_waits(grace)
        errors: list[BaseException] = []
        steps: list[Callable[[], Any]] = [self.top.flush]
        if self.server is not None:
            server = self.server
            steps.append(lambda: server.stop(grace))
        steps.append(self.buffered.close)
        for step in steps:
            try:
                step()
            except GeneralsError as error:
                logger.error("closing: %s", error)  # noqa: TRY400 - raised below
                errors.append(error)
        if errors:
            raise errors[0]

    def problems(self) -> dict[str, str]:
        """Return a text for each part that does not work."""
        found = {}
        if self.buffered.problem:
            found["sinks"] = self.buffered.problem
        if self.server is not None and self.server.problem:
            found["stream"] = self.server.problem
        return found


class SharedSink(ClosingSink):
    """Passes batches on to a sink that outlives the recorder."""

    def __init__(self, sink: Sink) -> None:
        """Pass batches on to ``sink``."""
        self._sink = sink

    def write(self, batch: ExperienceBatch) -> None:
        """Write a batch."""
        self._sink.write(batch)

    def flush(self) -> None:
        """Flush the sink."""
        self._sink.flush()

    def close(self) -> None:
        """Do nothing: the next games are recorded into the same sink, which the pipeline flushes and closes."""


class NoSink(ClosingSink):
    """Discards batches: for runs that only measure."""

    def write(self, batch: ExperienceBatch) -> None:
        """Discard a batch."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def overflow_of(settings: Settings) -> str:
    """Return what the replay buffer does when it is full: games wait for consumers only if these may make them wait."""
    return "block" if settings.streaming.policy == "block" else "drop_oldest"


def sampling_of(settings: Settings) -> dict[str, Any]:
    """Return the options of sampling in the buffer."""
    names = ("keep_probability", "pressure_threshold", "pressure_keep_probability")
    return {name: getattr(settings.collection, name) for name in names}


def stream_defaults(settings: Settings) -> dict[str, Any]:
    """Return the fields of ``StreamDefaults``."""
    names = ("batch_timeout_ms", "batch_size", "compression", "policy", "max_lag")
    return {name: getattr(settings.streaming, name) for name in names}


def open_log(settings: Settings, level: AdaptiveLevel | None = None) -> ExperienceLog:
    """Open the log for writing.

    Args:
        settings: The settings.
        level: Chooses the level of compression; None for the fastest.

    Raises:
        StorageError: If it cannot be written, or another process writes to it.
    """
    log = settings.log
    return ExperienceLog(
        log.directory,
        log.durability,
        segment_bytes=log.segment_bytes,
        max_bytes=log.max_bytes,
        max_age=log.max_age_seconds,
        drop_unread=log.drop_unread or not settings.storage.enabled,  # a position of an earlier run must not keep all of it
        min_free_bytes=log.min_free_bytes,
        compression_level=level or 1,
    )


def open_server(settings: Settings, source: ExperienceLog | ReplayBuffer, address: str | None = None) -> ExperienceServer:
    """Return a server that is not started yet.

    Raises:
        ConfigError: If an option is wrong, the token is missing in the environment, or the address is in use.
    """
    streaming = settings.streaming
    limits = Limits(
        max_connections=streaming.max_connections,
        max_message_bytes=streaming.max_message_size,
        max_requests_per_second=streaming.max_requests_per_second,
    )
    return ExperienceServer(
        source,
        address or streaming.address,
        certificate=streaming.certificate,
        key=streaming.key,
        client_ca=streaming.client_ca,
        token=token_of(settings),
        limits=limits,
        defaults=stream_defaults(settings),
    )


def token_of(settings: Settings) -> str | None:
    """Return the token of the clients from the environment, None if the settings name no variable.

    Raises:
        ConfigError: If the variable is empty or missing.
    """
    variable = settings.streaming.token_variable
    if variable is None:
        return None
    token = os.environ.get(variable)
    if not token:
        raise ConfigError(f"streaming.token_variable: expected the token in {variable}, got nothing: set the variable")
    return token
