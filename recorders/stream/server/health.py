"""Whether a server can do its work, told to whoever asks by ``grpc.health.v1``."""

from __future__ import annotations

import logging
import threading

from grpc_health.v1 import health, health_pb2

from generals_env.errors import GeneralsError
from generals_env.recorders.stream.server.service import SERVICE
from generals_env.recorders.stream.server.source import ExperienceSource

__all__ = ["HealthMonitor"]

logger = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds between looks

PATIENCE = 5.0  # seconds that a look may take


class HealthMonitor:
    """Looks at a feed from time to time, in a thread of its own; a feed whose storage is stuck holds up nobody but the look."""

    def __init__(self, feed: ExperienceSource, servicer: health.HealthServicer, stopping: threading.Event) -> None:
        """Look until ``stopping`` is set."""
        self._feed, self._servicer, self._stopping = feed, servicer, stopping
        self._serving: bool | None = None
        self._trouble = ""  # that the last look has found
        self._looking: threading.Thread | None = None
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)

    def start(self) -> None:
        """Begin, with what is true now."""
        self._look()
        self._thread.start()

    def join(self) -> None:
        """Wait for the end, and say that nothing is served any more."""
        self._thread.join()
        self._servicer.enter_graceful_shutdown()

    def _watch(self) -> None:
        while not self._stopping.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        """Look, unless the look before has not come back yet, and tell what was found in time."""
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(target=self._check, name="health check", daemon=True)
            self._looking.start()
        self._looking.join(PATIENCE)
        if self._looking.is_alive():
            self._tell(f"source: expected an answer within {PATIENCE:g} s, got none")
        else:
            self._tell(self._trouble)

    def _check(self) -> None:
        try:
            self._feed.check()
            self._trouble = ""
        except GeneralsError as error:
            self._trouble = str(error)

    def _tell(self, trouble: str) -> None:
        if self._serving is not (not trouble):
            self._serving = not trouble
            if trouble:
                logger.error("not serving: %s", trouble)
            status = health_pb2.HealthCheckResponse.NOT_SERVING if trouble else health_pb2.HealthCheckResponse.SERVING
            for name in ("", SERVICE):
                self._servicer.set(name, status)
