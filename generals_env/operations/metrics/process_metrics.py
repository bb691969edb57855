"""Measures CPU, memory, threads, files, disks and network of a process and its machine with psutil."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.operations.metrics.catalogue import Family
from generals_env.recorders.filesystem.disk_space import free_bytes

__all__ = ["HostMetrics", "ProcessMetrics"]


class ProcessMetrics(Collector):
    """Metrics of the process that makes this object."""

    def __init__(self, component: str) -> None:
        """Measure this process.

        Args:
            component: Value of the label ``component``: ``"supervisor"``, ``"collector"`` or ``"storage"``.
        """
        self.component = component
        self._process = psutil.Process()
        self._process.cpu_percent()  # the first call only notes the time
        self._stages = StageTimes(self._process)

    def collect(self) -> Iterator[Metric]:
        """Yield the families ``generals_process_...`` and ``generals_stage_cpu_seconds_total``."""
        process, name = self._process, self.component
        with process.oneshot():
            times = process.cpu_times()
            yield Family("generals_process_cpu_seconds_total").add(times.user + times.system, name)
            yield Family("generals_process_cpu_percent").add(process.cpu_percent(), name)
            yield Family("generals_process_memory_bytes").add(process.memory_info().rss, name)
            yield Family("generals_process_threads").add(process.num_threads(), name)
            if hasattr(process, "num_fds"):  # not on Windows
                yield Family("generals_process_open_files").add(process.num_fds(), name)
            if hasattr(process, "io_counters"):  # not on macOS
                counters = process.io_counters()
                yield Family("generals_process_disk_read_bytes_total").add(counters.read_bytes, name)
                yield Family("generals_process_disk_written_bytes_total").add(counters.write_bytes, name)
        stages = Family("generals_stage_cpu_seconds_total")
        for stage, seconds in self._stages.read().items():
            stages.add(seconds, name, stage)
        yield stages


class StageTimes:
    """CPU time of the threads of this process, added up by their names; times of ended threads are kept."""

    def __init__(self, process: psutil.Process) -> None:
        """Measure the threads of this process."""
        self._process = process
        self._ended: dict[str, float] = {}
        self._running: dict[int, tuple[str, float]] = {}  # by number of the thread

    def read(self) -> dict[str, float]:
        """Return the CPU seconds of each stage: the name of its threads without their numbers; ``native`` without a name."""
        names = {thread.native_id: stage_of(thread.name) for thread in threading.enumerate()}
        found: dict[int, tuple[str, float]] = {}
        for thread in self._process.threads():
            found[thread.id] = (names.get(thread.id, "native"), thread.user_time + thread.system_time)
        for number, (stage, seconds) in self._running.items():
            # Ended; another thread may have its number now.
            if number not in found or found[number][1] < seconds or found[number][0] != stage:
                self._ended[stage] = self._ended.get(stage, 0.0) + seconds
        self._running = found
        totals = dict(self._ended)
        for stage, seconds in found.values():
            totals[stage] = totals.get(stage, 0.0) + seconds
        return totals


def stage_of(name: str) -> str:
    """Return the name of a thread without its number: ``stream`` of ``stream_3``, ``Thread`` of ``Thread-7 (run)``."""
    return re.sub(r"[-_ ]?\d+( \(.*\))?$", "", name) or "native"


class HostMetrics(Collector):
    """Network traffic of the machine, and free space of the disks of folders. One process of a run reports them."""

    def __init__(self, folders: Mapping[str, str | Path]) -> None:
        """Measure the machine.

        Args:
            folders: Folders by the value of the label ``folder``, as ``"log"`` and ``"files"``; those that do not exist yet are
                left out.
        """
        self._folders = {name: Path(folder) for name, folder in folders.items()}

    def collect(self) -> Iterator[Metric]:
        """Yield the families ``generals_host_...`` and ``generals_disk_free_bytes``."""
        network = psutil.net_io_counters()
        if network is not None:  # a machine may have no interface
            yield Family("generals_host_network_received_bytes_total").add(network.bytes_recv)
            yield Family("generals_host_network_sent_bytes_total").add(network.bytes_sent)
        free = Family("generals_disk_free_bytes")
        for name, folder in self._folders.items():
            if folder.exists():
                free.add(free_bytes(folder), name)
        yield free
