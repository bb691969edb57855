"""Lists every metric with its type, labels, unit and meaning, and makes the families in which collectors report them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

__all__ = ["CATALOGUE", "Family", "MetricInfo", "sample_names"]

MetricType = Literal["counter", "gauge", "histogram", "info"]


class MetricInfo(NamedTuple):
    """A row of the catalogue.

    Attributes:
        name: Name as Prometheus shows it; that of a histogram is without ``_bucket``.
        type: Type of Prometheus.
        labels: Names of the labels.
        unit: Unit of the value.
        meaning: What it counts or measures.
    """

    name: str
    type: MetricType
    labels: tuple[str, ...]
    unit: str
    meaning: str


def rows(*table: tuple[str, MetricType, str, str, str]) -> dict[str, MetricInfo]:
    """Return rows by name; labels are given as one string."""
    return {name: MetricInfo(name, kind, tuple(labels.split()), unit, meaning) for name, kind, labels, unit, meaning in table}


RECORDING = rows(
    (
        "experiences_collected_total",
        "counter",
        "game_id player_id",
        "experiences",
        "Experiences by game and player; a game's series end some time after it.",
    ),
    ("experiences_recorded_total", "counter", "", "experiences", "Experiences of all games and players."),
    ("experiences_per_second", "gauge", "", "experiences/s", "Experiences per second over the last 30 seconds."),
    ("games_ended_total", "counter", "", "games", "Games that ended or were cut off."),
    ("game_turns_total", "counter", "", "turns", "Turns of all games."),
    ("experience_rewards", "histogram", "", "reward", "Rewards, in 21 buckets from -1 to 1."),
    ("experience_reward_accumulated", "gauge", "", "reward", "Sum of all rewards."),
    ("experience_reward_mean", "gauge", "", "reward", "Mean reward since the start of the worker."),
    ("experience_reward_stddev", "gauge", "", "reward", "Standard deviation of the rewards since the start of the worker."),
    ("experience_reward_min", "gauge", "", "reward", "Minimum reward since the start of the worker."),
    ("experience_reward_max", "gauge", "", "reward", "Maximum reward since the start of the worker."),
    (
        "experience_actions_total",
        "counter",
        "direction amount",
        "actions",
        "Executed actions by direction (up, down, left, right, pass, build) and amount (full, half, none).",
    ),
    (
        "experience_illegal_actions_total",
        "counter",
        "",
        "actions",
        "Requested actions that were illegal, and executed as a pass.",
    ),
    (
        "experience_action_entropy",
        "gauge",
        "",
        "bits",
        "Entropy of the ten kinds of actions over the last 30 seconds; 3.17 if all but builds are equally frequent.",
    ),
)

STAGES = rows(
    ("experience_sink_write_seconds", "histogram", "stage", "s", "Time that a sink takes for a batch."),
    ("experience_sink_failures_total", "counter", "stage", "batches", "Batches that a sink refused with an error."),
    (
        "experience_serialization_seconds",
        "histogram",
        "target",
        "s",
        "Time to encode a batch for a target: log, file or stream.",
    ),
    ("experience_storage_write_seconds", "histogram", "", "s", "Time to write a file to the disk or bucket."),
    ("experience_storage_failures_total", "counter", "", "files", "Tries to write a file that failed."),
    (
        "experience_tensor_bytes_total",
        "counter",
        "target",
        "bytes",
        "Size that the encoded experiences would have as float32 tensors, state and next state.",
    ),
    (
        "experience_packed_bytes_total",
        "counter",
        "target",
        "bytes",
        "Size of the encoded experiences in memory, as packed boards and columns.",
    ),
    ("experience_encoded_bytes_total", "counter", "target", "bytes", "Size of the encoded experiences."),
    (
        "experience_compression_ratio",
        "gauge",
        "target against",
        "ratio",
        "Size as tensors, or as packed boards, divided by the encoded size.",
    ),
)

SOURCES = rows(
    ("experience_buffer_size", "gauge", "buffer_id", "experiences", "Experiences in a buffer."),
    ("experience_buffer_capacity", "gauge", "buffer_id", "experiences", "Capacity of a buffer."),
    ("experience_buffer_utilization", "gauge", "buffer_id", "ratio", "Size divided by capacity, 0 to 1."),
    (
        "experience_buffer_dropped_total",
        "counter",
        "buffer_id reason",
        "experiences",
        "Experiences dropped by a buffer: drop_oldest, drop_newest or sampled.",
    ),
    ("experience_log_bytes", "gauge", "", "bytes", "Size of the files of the log."),
    ("experience_log_segments", "gauge", "", "files", "Segments of the log."),
    ("experience_log_first_sequence", "gauge", "", "experiences", "Number of the oldest experience in the log."),
    ("experience_log_next_sequence", "gauge", "", "experiences", "Number of the next experience of the log."),
    (
        "experience_log_consumer_lag_records",
        "gauge",
        "consumer",
        "experiences",
        "Experiences that a named consumer of the log has not committed.",
    ),
    ("experience_storage_written_total", "counter", "", "experiences", "Experiences in files that are written and synced."),
    ("experience_storage_pending", "gauge", "", "experiences", "Experiences in memory, to be written to a file."),
    (
        "experience_storage_dropped_total",
        "counter",
        "",
        "experiences",
        "Experiences that were not written, as the disk was full.",
    ),
    ("experience_storage_files_total", "counter", "", "files", "Files written."),
    ("experience_storage_bytes_total", "counter", "", "bytes", "Bytes of the files written."),
    ("experience_storage_deleted_files_total", "counter", "", "files", "Files deleted because of their age, or to free space."),
    ("experience_storage_free_bytes", "gauge", "", "bytes", "Free space of the disk of the files."),
    ("experience_stream_consumers", "gauge", "", "streams", "Connected consumers."),
    ("experience_stream_lag_records", "gauge", "consumer", "experiences", "Experiences that are not sent to a consumer yet."),
    (
        "experience_stream_lag_seconds",
        "gauge",
        "consumer",
        "s",
        "Age of the oldest experience that is not sent to a consumer yet.",
    ),
    (
        "experience_stream_missed_total",
        "counter",
        "consumer",
        "experiences",
        "Experiences dropped before a consumer received them.",
    ),
    ("experience_stream_latency_seconds", "histogram", "", "s", "Age of the first experience of a message when it is sent."),
    ("experience_stream_sent_total", "counter", "", "experiences", "Experiences sent; each once for each consumer."),
    ("experience_stream_sent_bytes_total", "counter", "", "bytes", "Bytes of messages as they were sent."),
    ("experience_stream_plain_bytes_total", "counter", "", "bytes", "Bytes of messages before compression."),
    ("experience_stream_dropped_total", "counter", "policy", "experiences", "Experiences skipped for consumers by a policy."),
    ("experience_submissions_accepted_total", "counter", "", "experiences", "Submitted experiences that were written."),
    ("experience_submissions_rejected_total", "counter", "reason", "experiences", "Submitted experiences that were refused."),
    (
        "experience_validation_failures_total",
        "counter",
        "reason",
        "experiences",
        "Invalid experiences by reason; missing sequence numbers as sequence_gap.",
    ),
    ("experience_validation_passed_total", "counter", "", "experiences", "Valid experiences."),
)

PROCESSES = rows(
    ("generals_process_cpu_seconds_total", "counter", "component", "s", "CPU time of a process."),
    ("generals_process_cpu_percent", "gauge", "component", "percent", "CPU use between the last two scrapes; 100 is one core."),
    ("generals_process_memory_bytes", "gauge", "component", "bytes", "Resident memory of a process."),
    ("generals_process_threads", "gauge", "component", "threads", "Threads of a process."),
    ("generals_process_open_files", "gauge", "component", "files", "Open file descriptors of a process."),
    ("generals_process_disk_read_bytes_total", "counter", "component", "bytes", "Bytes read from disks by a process."),
    ("generals_process_disk_written_bytes_total", "counter", "component", "bytes", "Bytes written to disks by a process."),
    (
        "generals_stage_cpu_seconds_total",
        "counter",
        "component stage",
        "s",
        "CPU time of threads, by their names.",
    ),
    (
        "generals_host_network_received_bytes_total",
        "counter",
        "",
        "bytes",
        "Bytes that the machine received.",
    ),
    ("generals_host_network_sent_bytes_total", "counter", "", "bytes", "Bytes that the machine sent."),
    ("generals_metrics_failures_total", "counter", "component", "reads", "Collectors that could not be read at a scrape."),
    ("generals_disk_free_bytes", "gauge", "folder", "bytes", "Free space of the disk of a folder."),
    ("generals_worker_up", "gauge", "worker", "", "1 while a worker answers the supervisor, else 0."),
    ("generals_worker_restarts_total", "counter", "worker", "restarts", "Restarts of a worker by the supervisor."),
    ("generals_ready", "gauge", "", "", "1 while the run is ready, as /readyz answers, else 0."),
    ("generals_build_info", "gauge", "version python", "", "1, with the versions of the package and of Python as labels."),
)

#: All metrics by name.
CATALOGUE: dict[str, MetricInfo] = {**RECORDING, **STAGES, **SOURCES, **PROCESSES}


class Family(Metric):
    """Samples of one metric of the catalogue."""

    def __init__(self, name: str) -> None:
        """Begin without samples.

        Args:
            name: A key of ``CATALOGUE``.
        """
        info = CATALOGUE[name]
        super().__init__(name.removesuffix("_total"), info.meaning, info.type)
        self.info = info

    def add(self, value: float, *labels: str) -> Family:
        """Append a sample; ``labels`` are the values of the labels, in the order of the catalogue."""
        self.samples.append(Sample(self.info.name, self._labelled(labels), float(value)))
        return self

    def add_unlabelled(self, value: float) -> Family:
        """Append a sample without the labels of the catalogue, for metrics that have a mode without them."""
        self.samples.append(Sample(self.info.name, {}, float(value)))
        return self

    def add_histogram(
        self, bounds: Sequence[float], counts: npt.NDArray[np.int64], total: float, labels: tuple[str, ...] = ()
    ) -> Family:
        """Append the samples of a histogram.

        Args:
            bounds: Upper bounds of the buckets, without infinity.
            counts: Values in each bucket, and above the last bound.
            total: Sum of the values.
            labels: Values of the labels.
        """
        labelled = self._labelled(labels)
        below = np.cumsum(counts).tolist()
        for bound, count in zip([*map(floatToGoString, bounds), "+Inf"], below, strict=True):
            self.samples.append(Sample(f"{self.info.name}_bucket", {**labelled, "le": bound}, float(count)))
        self.samples.append(Sample(f"{self.info.name}_count", labelled, float(below[-1])))
        self.samples.append(Sample(f"{self.info.name}_sum", labelled, float(total)))
        return self

    def _labelled(self, labels: tuple[str, ...]) -> dict[str, str]:
        return dict(zip(self.info.labels, labels, strict=True))


def sample_names(info: MetricInfo) -> list[str]:
    """Return the names of the series of a metric."""
    return [f"{info.name}_{suffix}" for suffix in ("bucket", "count", "sum")] if info.type == "histogram" else [info.name]
