"""Reports what the supervisor of a run knows: its workers, their restarts, readiness and versions."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.operations.metrics.catalogue import Family
from generals_env.version import __version__

__all__ = ["RunMetrics"]


class RunMetrics(Collector):
    """Metrics of the supervisor; thread-safe."""

    def __init__(self, workers: Iterable[str], ready: Callable[[], bool]) -> None:
        """Begin with all workers down and without restarts.

        Args:
            workers: Names of the workers.
            ready: Returns whether the run is ready, as ``/readyz`` answers.
        """
        self._ready = ready
        self._lock = threading.Lock()
        self._up = dict.fromkeys(workers, False)
        self._restarts = dict.fromkeys(self._up, 0)

    def set_up(self, worker: str, up: bool) -> None:
        """Note whether a worker answers."""
        with self._lock:
            self._up[worker] = up

    def set_restarts(self, worker: str, count: int) -> None:
        """Note how often a worker was started again."""
        with self._lock:
            self._restarts[worker] = count

    def collect(self) -> Iterator[Metric]:
        """Yield the families of workers, readiness and versions."""
        up, restarts = Family("generals_worker_up"), Family("generals_worker_restarts_total")
        with self._lock:
            for worker, answers in self._up.items():
                up.add(answers, worker)
                restarts.add(self._restarts[worker], worker)
        yield from (up, restarts)
        yield Family("generals_ready").add(self._ready())
        yield Family("generals_build_info").add(1, __version__, platform.python_version())
