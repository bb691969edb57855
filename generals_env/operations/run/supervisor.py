"""Runs all workers of ``generals-env run``: starts them, starts those again that end, reloads settings, drains, sums up."""

from __future__ import annotations

import logging
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
        self._asked = 0  # times that the run was asked to end
        self.endpoints = Endpoints(self.workers, settings)

    def ask_to_end(self) -> None:
        """Ask to drain; asked again, to end at once. Safe in a signal handler."""
        self._asked += 1

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
            self.state = "running"
        on_tick()
        time.sleep(TICK)

    def _is_over(self) -> bool:
        """Return whether to drain now."""
        limit = self.settings.collection.max_seconds
        if limit is not None and time.monotonic() - self.began >= limit:
            return True
        # A worker that never became ready has a cause that stays, such as a folder without permission.
        lost = [worker for worker in self.workers.values() if worker.failure and not worker.was_ready]
        return bool(self._asked or lost) or self.workers["collector"].has_finished

    def _drain(self, worker: WorkerHandle, on_tick: Callable[[], None]) -> None:
        """Let a worker finish; one that was killed or has failed before is started again, to finish what it began."""
        asked, deadline = self._asked, time.monotonic() + DRAIN_SECONDS
        is_asked_worker = False
        if not worker.is_running and worker.was_ready and not worker.has_finished:
            worker.start()
        while not worker.has_finished and (worker.is_running or worker.is_ready):
            if (worker.is_ready or not worker.was_ready) and not is_asked_worker:
                worker.drain()
                is_asked_worker = True
            if self._asked > asked + 1 or time.monotonic() > deadline:
                logger.error("worker %s has not ended: it is killed", worker.name)
                worker.kill()
            self._tick(on_tick, restart=False)
        while worker.is_running:
            self._tick(on_tick, restart=False)

    def summary(self) -> dict[str, Any]:
        """Return the figures of the last status of all workers."""
        return {name: worker.status for name, worker in self.workers.items()}
