"""Whether a server can do its work, told to whoever asks by ``grpc.health.v1``."""

from __future__ import annotations

import logging
import threading

from grpc_health.v1 import health, health_pb2

from generals_env.errors import GeneralsError
from generals_env.recorders.stream.feed import Feed
from generals_env.recorders.stream.service import SERVICE

__all__ = ["Watch"]

logger = logging.getLogger(__name__)

INTERVAL = 0.5  # seconds between looks


class Watch:
    """Looks at a feed from time to time, in a thread of its own."""

    def __init__(self, feed: Feed, servicer: health.HealthServicer, stopping: threading.Event) -> None:
        """Look until ``stopping`` is set."""
        self._feed, self._servicer, self._stopping = feed, servicer, stopping
        self._serving: bool | None = None
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
        try:
            self._feed.check()
            trouble = ""
        except GeneralsError as error:
            trouble = str(error)
        if self._serving is not (not trouble):
            self._serving = not trouble
            if trouble:
                logger.error("not serving: %s", trouble)
            status = health_pb2.HealthCheckResponse.NOT_SERVING if trouble else health_pb2.HealthCheckResponse.SERVING
            for name in ("", SERVICE):
                self._servicer.set(name, status)
