"""Tests metrics of processes, of the run and of measured calls, and that a part that cannot be read hides no other."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.recorded import record_game

from generals_env.errors import StorageError
from generals_env.operations.metrics.process_metrics import HostMetrics, ProcessMetrics, stage_of
from generals_env.operations.metrics.registry import MetricsRegistry
from generals_env.operations.metrics.run_metrics import RunMetrics
from generals_env.operations.metrics.source_metrics import BufferMetrics, BufferState, LogMetrics
from generals_env.operations.metrics.stage_metrics import StageMetrics
from generals_env.operations.metrics.stream_metrics import StreamMetrics
from generals_env.operations.metrics.transport import load_families
from generals_env.recorders import DatasetWriter, ExperienceLog
from generals_env.recorders.encoding.timings import measured
from generals_env.recorders.stream.server.stream_counters import ServerTotals
from generals_env.recorders.stream.server.stream_sender import StreamStatus

GAME = record_game(3, 30, height=6, width=7)


def samples(collector: Any) -> dict[tuple[str, ...], float]:
    """Return the samples by their names and the values of their labels."""
    found = [sample for family in collector.collect() for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in found}


@pytest.fixture
def stages() -> Iterator[StageMetrics]:
    """Return an observer of this process."""
    observer = StageMetrics()
    observer.start()
    yield observer
    observer.stop()


@pytest.mark.checklist("L9")
def test_process_metrics_equal_those_of_the_system() -> None:
    metrics = ProcessMetrics("collector")
    process = psutil.Process()
    before = process.cpu_times()
    held = bytearray(os.urandom(2**20) * 64)
    found = samples(metrics)
    after = process.cpu_times()
    seconds = found["generals_process_cpu_seconds_total", "collector"]
    assert before.user + before.system <= seconds <= after.user + after.system
    assert found["generals_process_memory_bytes", "collector"] > len(held)
    assert found["generals_process_threads", "collector"] >= threading.active_count()
    assert 0 < found["generals_process_cpu_percent", "collector"] < 100 * 64


@pytest.mark.checklist("L9")
def test_cpu_time_of_ended_threads_is_kept_by_stage() -> None:
    metrics = ProcessMetrics("collector")

    def work(done: threading.Event, stop: threading.Event) -> None:
        end = time.thread_time() + 0.1
        while time.thread_time() < end:
            pass
        done.set()
        stop.wait()

    for number in range(2):
        done, stop = threading.Event(), threading.Event()
        thread = threading.Thread(target=work, args=(done, stop), name=f"writer_{number}", daemon=True)
        thread.start()
        done.wait()
        found = samples(metrics)
        stop.set()
        thread.join()
        assert found["generals_stage_cpu_seconds_total", "collector", "writer"] >= 0.09 * (number + 1)
    assert samples(metrics)["generals_stage_cpu_seconds_total", "collector", "writer"] >= 0.18
    names = {"stream_3": "stream", "Thread-7 (run)": "Thread", "MainThread": "MainThread", "3": "native"}
    assert {name: stage_of(name) for name in names} == names


@pytest.mark.checklist("L9")
def test_host_metrics_measure_folders_that_exist(tmp_path: Path) -> None:
    found = samples(HostMetrics({"log": tmp_path, "files": tmp_path / "later"}))
    assert found["generals_disk_free_bytes", "log"] == pytest.approx(psutil.disk_usage(str(tmp_path)).free, rel=0.05)
    assert ("generals_disk_free_bytes", "files") not in found
    assert found["generals_host_network_received_bytes_total",] >= 0


def test_run_metrics_count_restarts_and_show_readiness() -> None:
    ready = False
    run = RunMetrics(("collector", "storage"), lambda: ready)
    run.set_up("storage", True)
    run.set_restarts("storage", 1)
    found = samples(run)
    assert (found["generals_worker_up", "storage"], found["generals_worker_up", "collector"]) == (1, 0)
    assert (found["generals_worker_restarts_total", "storage"], found["generals_worker_restarts_total", "collector"]) == (1, 0)
    assert found["generals_ready",] == 0
    ready = True
    assert samples(run)["generals_ready",] == 1


@pytest.mark.checklist("L6", "L10", "L15")
def test_stage_metrics_count_failed_and_repeated_writes(
    tmp_path: Path, stages: StageMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = DatasetWriter(tmp_path, min_free_bytes=0)
    create = writer.store.create
    errors: list[Exception] = [OSError("the disk fails"), FileExistsError("another writer was first")]

    def failing(name: str, content: bytes) -> None:
        if errors:
            raise errors.pop(0)
        create(name, content)

    monkeypatch.setattr(writer.store, "create", failing)
    writer.write(GAME)
    with pytest.raises(OSError, match="the disk fails"):
        writer.flush()
    writer.flush()
    found = samples(stages)
    assert found["experience_storage_failures_total",] == 1
    assert found["experience_storage_write_seconds_count",] == 2  # not the one whose name was taken
    assert found["experience_encoded_bytes_total", "file"] == 2 * writer.stats().bytes  # encoded again for the second try
    assert found["experience_packed_bytes_total", "file"] == 2 * GAME.nbytes
    stages.stop()
    assert measured("log", GAME, lambda: b"12345") == b"12345"
    assert samples(stages) == found


@pytest.mark.checklist("L2", "L5", "L11")
def test_buffer_metrics_show_size_and_drops_by_reason() -> None:
    states = {"games": BufferState(30, 40, {"drop_oldest": 1, "drop_newest": 2, "sampled": 3}), "new": BufferState(0, 0, {})}
    found = samples(BufferMetrics({name: lambda state=state: state for name, state in states.items()}))
    assert (found["experience_buffer_size", "games"], found["experience_buffer_capacity", "games"]) == (30, 40)
    assert found["experience_buffer_utilization", "games"] == 0.75
    assert found["experience_buffer_utilization", "new"] == 0
    assert [found["experience_buffer_dropped_total", "games", reason] for reason in states["games"].dropped] == [1, 2, 3]


class Server:
    """A server with two streams of one connection."""

    first = StreamStatus("ipv4:127.0.0.1:1", 3, 5, 0, 0.5, 10, 2, 100, 0.1, 0.2, "block", None, 0)
    streams = (first, first._replace(lag=7, missed=2, lag_seconds=1.5))
    totals = ServerTotals(rejected={"reward": 2})


@pytest.mark.checklist("L7", "L12")
def test_streams_of_one_connection_have_series_of_their_own() -> None:
    found = samples(StreamMetrics(Server()))
    names = ("ipv4:127.0.0.1:1", "ipv4:127.0.0.1:1#2")
    assert [found["experience_stream_lag_records", name] for name in names] == [5, 7]
    assert [found["experience_stream_lag_seconds", name] for name in names] == [0.5, 1.5]
    assert [found["experience_stream_missed_total", name] for name in names] == [0, 2]
    assert found["experience_stream_consumers",] == 2
    assert found["experience_submissions_rejected_total", "reward"] == 2
    assert found["experience_stream_dropped_total", "drop_oldest"] == 0


def test_part_that_cannot_be_read_hides_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = ExperienceLog(tmp_path / "log", min_free_bytes=0)
    log.write(GAME)
    log.commit("storage", 3)
    registry = MetricsRegistry("storage")
    registry.add(LogMetrics(log), HostMetrics({"log": tmp_path}))
    (name,) = (path for path in log.folder.rglob("*") if (path.is_file() and "storage" in path.name) or path.suffix == ".json")
    name.write_text("damaged")
    with caplog.at_level(logging.WARNING), pytest.raises(StorageError):
        log.consumers()
    found = {sample.name: sample.value for family in load_families(registry.dump()) for sample in family.samples}
    assert "LogMetrics cannot be read" in caplog.text
    assert found["generals_metrics_failures_total"] == 1
    assert "generals_disk_free_bytes" in found
    assert "experience_log_bytes" not in found
    log.close()
