"""Monitors whether the source of a server works, and publishes it through ``grpc.health.v1``."""

from __future__ import annotations

import logging
import threading

from grpc_health.v1 import health, health_pb2

from generals_env.errors import GeneralsError
from generals_env.recorders.stream.server.experience_source import ExperienceSource
from generals_env.recorders.stream.server.service import SERVICE

__all__ = ["HealthMonitor"]

logger = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds between checks

PATIENCE = 5.0  # seconds that a check may take


class HealthMonitor:
    """Checks a source at intervals, each check in a thread of its own: storage that hangs blocks only that thread.

    Attributes:
        published: The problem for which ``NOT_SERVING`` is published; empty while it is ``SERVING``.
    """

    def __init__(self, source: ExperienceSource, servicer: health.HealthServicer, stopping: threading.Event) -> None:
        """Prepare to check until ``stopping`` is set."""
        self._source, self._servicer, self._stopping = source, servicer, stopping
        self._serving: bool | None = None
        self.published = ""
        self._problem = ""  # found by the last check; empty if it passed
        self._checking: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        """Check once, then start the thread."""
        self._check_in_time()
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread to end, and publish ``NOT_SERVING`` for all services."""
        self._thread.join()
        self._servicer.enter_graceful_shutdown()

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL):
            self._check_in_time()

    def _check_in_time(self) -> None:
        """Start a check unless the last one still runs, and publish its result, or that it takes too long."""
        if self._checking is None or not self._checking.is_alive():
            self._checking = threading.Thread(target=self._check, name="health check", daemon=True)
            self._checking.start()
        self._checking.join(PATIENCE)
        if self._checking.is_alive():
            self._publish(
                f"source: expected an answer within {PATIENCE:g} s, got none: check the disk or the storage of the source"
            )
        else:
            self._publish(self._problem)

    def _check(self) -> None:
        try:
            self._source.check()
            self._problem = ""
        except GeneralsError as error:
            self._problem = str(error)

    def _publish(self, problem: str) -> None:
        self.published = problem
        if self._serving is not (not problem):
            self._serving = not problem
            if problem:
                logger.error("not serving: %s", problem)
            status = health_pb2.HealthCheckResponse.NOT_SERVING if problem else health_pb2.HealthCheckResponse.SERVING
            for name in ("", SERVICE):
                self._servicer.set(name, status)
