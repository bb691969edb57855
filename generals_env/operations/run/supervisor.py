"""Runs all workers of ``generals-env run``: starts them, starts those again that end, reloads settings, drains, sums up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from generals_env.operations.run.endpoints import Endpoints
from generals_env.operations.run.structured_logs import set_level
from generals_env.operations.run.worker_handle import WorkerHandle
from generals_env.operations.settings.models import Settings

__all__ = ["Supervisor"]

logger = logging.getLogger(__name__)

TICK = 0.1  # seconds between looks at the workers

DRAIN_SECONDS = 300.0  # after which workers that do not end are killed


class Supervisor:
    """The process above the workers.

    The collector is drained first, so that the storage worker can write all of its log, then the storage worker.

    Attributes:
        settings: The current settings.
        workers: The workers by name.
        began: When the run began, as ``time.monotonic``.
        state: ``"starting"``, ``"running"``, ``"draining"`` or ``"ended"``.
    """

    def __init__(self, settings: Settings) -> None:
        """Prepare a run; the settings have passed ``preflight``."""
        self.settings = settings
        names = ["collector"]
        if settings.log.enabled and settings.storage.enabled and settings.collection.enabled:
            names.append("storage")
        self.workers = {name: WorkerHandle(name, settings) for name in names}
        self.began = time.monotonic()
        self.state = "starting"
        self._playing_since: float | None = None
        self._asked = 0  # times that the run was asked to end
        self.endpoints = Endpoints(self.workers, settings)

    def ask_to_end(self, once: bool = False) -> None:
        """Ask to drain; asked again, to end at once. Safe in a signal handler.

        Args:
            once: Whether this only asks to drain, however often: shell and system both tell of a closed terminal.
        """
        self._asked = max(self._asked, 1) if once else self._asked + 1

    def change(self, settings: Settings, keys: Sequence[str]) -> None:
        """Take over changed settings, of which only live keys differ."""
        self.settings = settings
        set_level(settings.logging.level)
        for worker in self.workers.values():
            worker.change(settings)
        logger.info("changed settings: %s", ", ".join(keys))

    def run(self, on_tick: Callable[[], None]) -> int:
        """Run until the games are played, the time is over, or ``ask_to_end`` is called.

        Args:
            on_tick: Called several times a second.

        Returns:
            The exit status: 0 if all that was recorded is where it belongs, 1 otherwise.
        """
        self.began = time.monotonic()
        with self.endpoints:
            try:
                for worker in self.workers.values():
                    worker.start()
                while not self._is_over():
                    self._tick(on_tick, restart=True)
                self.state = "draining"
                self.endpoints.health.stop()  # not ready from now on
                for worker in self.workers.values():
                    self._drain(worker, on_tick)
                self.state = "ended"
                on_tick()
            finally:
                for worker in self.workers.values():
                    worker.kill()
        return int(not all(worker.has_finished for worker in self.workers.values()))

    def _tick(self, on_tick: Callable[[], None], restart: bool) -> None:
        self.endpoints.health.beat()
        for worker in self.workers.values():
            worker.watch(restart)
        if self.state == "starting" and all(worker.is_ready for worker in self.workers.values()):
            self.state, self._playing_since = "running", time.monotonic()
        on_tick()
        time.sleep(TICK)

    def _is_over(self) -> bool:
        """Return whether to drain now."""
        limit = self.settings.collection.max_seconds
        if limit is not None and self._playing_since is not None and time.monotonic() - self._playing_since >= limit:
            return True
        lost = any(worker.is_lost for worker in self.workers.values())
        return bool(self._asked) or lost or self.workers["collector"].has_finished

    def _drain(self, worker: WorkerHandle, on_tick: Callable[[], None]) -> None:
        """Let a worker finish; one that was killed or has failed before is started again, to finish what it began."""
        deadline = time.monotonic() + DRAIN_SECONDS
        is_asked_worker = False
        if not worker.is_running and worker.was_ready and not worker.has_finished and not self._must_end:
            worker.start()
        while worker.is_running:
            if (worker.is_ready or not worker.was_ready) and not worker.has_finished and not is_asked_worker:
                # In a thread, as a worker that hangs must not delay a second signal.
                threading.Thread(target=worker.drain, name=f"drain {worker.name}", daemon=True).start()
                is_asked_worker = True
            if self._must_end or time.monotonic() > deadline:
                logger.error("worker %s has not ended: it is killed", worker.name)
                worker.kill()
            self._tick(on_tick, restart=False)

    @property
    def _must_end(self) -> bool:
        """Whether to end at once: the run was asked to end while it ended."""
        return self._asked > 1

    def summary(self) -> dict[str, Any]:
        """Return the figures of the last status of all workers."""
        return {name: worker.status for name, worker in self.workers.items()}
