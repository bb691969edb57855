"""Serves metrics, health and the debug endpoint of a run from the supervisor, which asks the workers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

from prometheus_client.metrics_core import Metric

from generals_env.errors import StateError
from generals_env.operations.health.debug_endpoint import Inspect, debug_routes
from generals_env.operations.health.health_report import HealthReport
from generals_env.operations.health.http_server import HttpServer, Request, Response
from generals_env.operations.health.process_inspection import inspect_process
from generals_env.operations.metrics.process_metrics import HostMetrics, ProcessMetrics
from generals_env.operations.metrics.registry import MetricsRegistry
from generals_env.operations.metrics.run_metrics import RunMetrics
from generals_env.operations.metrics.transport import exposition, load_families, merge_families
from generals_env.operations.run.files import storage_place
from generals_env.operations.run.worker_handle import WorkerHandle
from generals_env.operations.settings.models import Settings

__all__ = ["Endpoints"]

logger = logging.getLogger(__name__)

SCRAPE_SECONDS = 5.0  # that a worker may take to answer

INSPECT_SECONDS = 10.0  # that a worker may take to answer an inspection, besides those of a measurement

SILENT = 15.0  # seconds without a status after which a worker counts as not ready


class Endpoints:
    """The HTTP servers of a run: ``/metrics``, ``/healthz`` and ``/readyz``, and the debug endpoint if it is enabled.

    Attributes:
        health: The report behind ``/healthz`` and ``/readyz``.
        address: Where metrics and health are served; None if they are disabled.
        debug_address: Where the debug endpoint is served; None if it is disabled.
    """

    def __init__(self, workers: dict[str, WorkerHandle], settings: Settings) -> None:
        """Bind the addresses; requests are answered while this is a context.

        Raises:
            ConfigError: If an address is in use.
        """
        self._workers = workers
        self.health = HealthReport()
        for name in workers:
            self.health.add(f"worker {name}", self._check_of(name))
        self._run_metrics = RunMetrics(workers, self.is_ready)
        self._registry = MetricsRegistry("supervisor")
        self._registry.add(self._run_metrics, ProcessMetrics("supervisor"), HostMetrics(folders_of(settings)))
        self._servers: list[HttpServer] = []
        self.address = self.debug_address = None
        if settings.metrics.enabled:
            routes = {"/metrics": self._metrics, **self.health.routes()}
            self._servers.append(HttpServer(settings.metrics.address, routes, "metrics.address"))
            self.address = self._servers[-1].address
        if settings.debug.enabled:
            inspections: dict[str, Inspect] = {"supervisor": inspect_process}
            routes = debug_routes(inspections | {name: partial(inspect_worker, worker) for name, worker in workers.items()})
            self._servers.append(HttpServer(settings.debug.address, routes, "debug.address", loopback_only=True))
            self.debug_address = self._servers[-1].address
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Answer requests."""
        self._stack.enter_context(self.health)
        for server in self._servers:
            self._stack.enter_context(server)
        if self.address is not None:
            logger.info("metrics and health at http://%s/metrics", self.address, extra={"address": self.address})
        if self.debug_address is not None:
            logger.info("debug endpoint at http://%s/debug/", self.debug_address, extra={"address": self.debug_address})
        return self

    def __exit__(self, *details: object) -> None:
        """Stop answering."""
        self._stack.close()

    def is_ready(self) -> bool:
        """Return what ``/readyz`` answers."""
        return all(result.ok for result in self.health.readiness())

    def _check_of(self, name: str) -> Callable[[], str]:
        """Return the check of a worker: it is ready, it answers, and it reports no problem."""

        def check() -> str:
            worker = self._workers[name]
            if worker.has_finished:
                return "the worker has finished its work"
            if not worker.is_ready:
                return worker.failure or "the worker has not begun to work yet: wait, or look at its log lines"
            if (silent := worker.silent_seconds) > SILENT:
                return f"the worker has not answered for {silent:.0f} s ({worker.unanswered}): look at its threads"
            return "; ".join(worker.status.get("problems", {}).values())

        return check

    def _metrics(self, request: Request) -> Response:
        """Answer a scrape with the metrics of all processes; one that does not answer is reported as down."""
        families: list[Iterable[Metric]] = []
        for name, worker in self._workers.items():
            try:
                families.append(load_families(worker.call("metrics", SCRAPE_SECONDS)))
            except StateError as error:
                logger.debug("no metrics of %s: %s", name, error)
                self._run_metrics.set_up(name, False)
            else:
                self._run_metrics.set_up(name, worker.is_ready)
            self._run_metrics.set_restarts(name, worker.restarts)
        families.append(self._registry.collect())
        content_type, body = exposition(merge_families(families), request.headers.get("accept", ""))
        return Response(body, content_type=content_type)


def inspect_worker(worker: WorkerHandle, inspection: str, arguments: dict[str, Any]) -> str:
    """Return an inspection of a worker, by a call that waits for the seconds of a measurement, too."""
    seconds = float(arguments.get("seconds", 0.0)) + INSPECT_SECONDS
    return str(worker.call("inspect", seconds, inspection=inspection, arguments=arguments))


def folders_of(settings: Settings) -> dict[str, str]:
    """Return the local folders whose free space is measured."""
    folders = {}
    if settings.log.enabled:
        folders["log"] = settings.log.directory
    if settings.storage.enabled and settings.storage.type == "file":
        folders["files"] = storage_place(settings)
    return folders
