"""Records games through all parts that have metrics: buffer, log, files and a server with a consumer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import generals_env
from generals_env.operations.metrics.metered_sink import MeteredSink, SinkMetrics
from generals_env.operations.metrics.process_metrics import HostMetrics, ProcessMetrics
from generals_env.operations.metrics.recording_metrics import RecordingMetrics
from generals_env.operations.metrics.registry import MetricsRegistry
from generals_env.operations.metrics.run_metrics import RunMetrics
from generals_env.operations.metrics.source_metrics import (
    BufferMetrics,
    LogMetrics,
    StorageMetrics,
    ValidationMetrics,
    replay_buffer_state,
)
from generals_env.operations.metrics.stage_metrics import StageMetrics
from generals_env.operations.metrics.stream_metrics import StreamMetrics
from generals_env.recorders import (
    DatasetWriter,
    ExperienceConsumer,
    ExperienceLog,
    ExperienceRecorder,
    ExperienceServer,
    MultiSink,
    ReplayBuffer,
    ValidatingSink,
)

TURNS = 40


class MeteredRun:
    """A recorder over every kind of sink, the collectors of all, and a consumer of the stream.

    Attributes:
        registry: All collectors.
    """

    def __init__(self, folder: Path) -> None:
        self.recording, self.sinks, self.stages = RecordingMetrics(), SinkMetrics(), StageMetrics()
        self.stages.start()
        self.buffer = ReplayBuffer(200)
        self.log = ExperienceLog(folder / "log", "normal", min_free_bytes=0)
        self.files = DatasetWriter(folder / "files", min_free_bytes=0)
        self.validating = ValidatingSink(MultiSink([self.buffer, self.log, self.files]))
        sink = MeteredSink(self.validating, self.recording, self.sinks)
        self.env = ExperienceRecorder(generals_env.make_vec(4, height=8, width=8, max_turns=30), sink)
        self.env.reset(seed=1)
        self.server = ExperienceServer(self.log, "127.0.0.1:0").start()
        self.run = RunMetrics(("collector", "storage"), lambda: True)
        self.registry = MetricsRegistry("collector")
        self.registry.add(
            self.recording,
            self.sinks,
            self.stages,
            BufferMetrics({"games": lambda: replay_buffer_state(self.buffer)}),
            LogMetrics(self.log),
            StorageMetrics(self.files),
            ValidationMetrics(self.validating),
            StreamMetrics(self.server),
            ProcessMetrics("collector"),
            HostMetrics({"log": self.log.folder}),
            self.run,
        )

    def play(self) -> None:
        """Play some turns of all games, and write files."""
        self.env.play(TURNS, ("expander", "random"))
        self.env.flush()

    def close(self) -> None:
        """Stop everything."""
        self.server.stop(0)
        self.stages.stop()
        self.env.close()


@contextmanager
def metered_run(folder: Path) -> Iterator[MeteredRun]:
    """Play some turns, commit as a consumer of the log, and keep a consumer of the stream connected for the block."""
    run = MeteredRun(folder)
    try:
        run.play()
        run.log.commit("storage", 10)
        with ExperienceConsumer(run.server.address) as consumer:
            stream = consumer.stream_experiences()  # ends when it is dropped
            next(stream)
            yield run
    finally:
        run.close()
