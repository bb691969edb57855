"""Joins named checks into the liveness and the readiness of a process.

Each check runs again and again in a thread of its own. The report reads the last results, so a check that hangs, for example
on a disk that does not answer, is reported as such and never blocks the report.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from generals_env.errors import ConfigError, GeneralsError, StateError
from generals_env.operations.health.http_server import Handler, Response

__all__ = ["Check", "CheckResult", "HealthReport"]

logger = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between the end of a check and the next one

PATIENCE = 5.0  # seconds after which a check without a result counts as failed

HEARTBEAT = 30.0  # seconds without a heartbeat of the main loop after which the process counts as stuck

MAIN_LOOP = "main loop"

Check = Callable[[], str | None]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        name: Name of the check.
        problem: What is wrong and what to do; empty if nothing is.
        since: Time from which on it passes or fails without a break, in seconds since 1970.
    """

    name: str
    problem: str
    since: float

    @property
    def ok(self) -> bool:
        """Whether the check passed."""
        return not self.problem

    def as_json(self) -> dict[str, Any]:
        """Return the result as values of JSON, the time in UTC."""
        since = datetime.fromtimestamp(self.since, UTC).isoformat(timespec="milliseconds")
        return {"name": self.name, "ok": self.ok, "problem": self.problem or None, "since": since}


class HealthReport:
    """Reports whether a process is alive (``/healthz``) and ready for work (``/readyz``).

    Alive: the main loop called ``beat`` in the last ``heartbeat`` seconds, and the checks that were added with
    ``liveness=True`` pass. A process that is not alive should be killed and started again. Ready: it is alive, and all checks
    pass. A check that has not ended yet after the start counts as failed.

    Example:
        >>> report = HealthReport()
        >>> report.add("log", log.check)  # doctest: +SKIP
        >>> with report, HttpServer("127.0.0.1:9090", report.routes()):  # doctest: +SKIP
        ...     while playing():
        ...         report.beat()
    """

    def __init__(self, *, heartbeat: float = HEARTBEAT, patience: float = PATIENCE, interval: float = INTERVAL) -> None:
        """Create a report without checks.

        Args:
            heartbeat: Seconds that may pass between two heartbeats.
            patience: Seconds that a check may take.
            interval: Seconds between checks.
        """
        self._heartbeat, self._patience, self._interval = heartbeat, patience, interval
        self._checks: dict[str, _RepeatedCheck] = {}
        self._stopping = threading.Event()
        self._started = False
        self._beaten = time.monotonic()
        self._alive = CheckResult(MAIN_LOOP, "", time.time())
        self._lock = threading.Lock()

    def add(self, name: str, check: Check, *, liveness: bool = False) -> None:
        """Add a check, also while the report runs.

        Args:
            name: Its name, unique in the report.
            check: Returns None or an empty text if all is well, else the problem; or raises ``GeneralsError`` with it.
            liveness: Whether the process must be started again if it fails.

        Raises:
            ConfigError: If the name is taken.
        """
        added = _RepeatedCheck(name, check, liveness, self._interval, self._patience, self._stopping)
        with self._lock:
            if name in self._checks or name == MAIN_LOOP:
                raise ConfigError(f"name: expected one that is not taken, got {name!r}: choose another")
            self._checks = {**self._checks, name: added}
            started = self._started
        if started:
            added.start()

    def beat(self) -> None:
        """Note that the main loop runs; call it in every round of the loop."""
        self._beaten = time.monotonic()

    def start(self) -> Self:
        """Start the checks.

        Raises:
            StateError: If they were started before.
        """
        with self._lock:
            if self._started:
                raise StateError("start: expected a new report, got one that was started: make another HealthReport")
            self._started = True
        self.beat()
        for check in self._checks.values():
            check.start()
        return self

    def stop(self) -> None:
        """Stop the checks and report that the process is not ready. Checks that hang are left behind in daemon threads."""
        self._stopping.set()

    def liveness(self) -> list[CheckResult]:
        """Return the heartbeat and the results of the checks on which liveness depends."""
        return [self._main_loop(), *(check.result() for check in self._checks.values() if check.liveness)]

    def readiness(self) -> list[CheckResult]:
        """Return the heartbeat and the results of all checks, and the request to stop if there was one."""
        results = [self._main_loop(), *(check.result() for check in self._checks.values())]
        if self._stopping.is_set():
            results.append(CheckResult("stop", "the process stops: send work to another one", time.time()))
        return results

    def routes(self) -> dict[str, Handler]:
        """Return the routes ``/healthz`` and ``/readyz``, which answer 200 or 503 and the checks as JSON."""
        return {
            "/healthz": lambda _: as_response(self.liveness(), "alive", "stuck"),
            "/readyz": lambda _: as_response(self.readiness(), "ready", "not ready"),
        }

    def __enter__(self) -> Self:
        """Start the checks unless they were started."""
        return self if self._started else self.start()

    def __exit__(self, *details: object) -> None:
        """Stop the checks."""
        self.stop()

    def _main_loop(self) -> CheckResult:
        silent = time.monotonic() - self._beaten
        problem = ""
        if silent > self._heartbeat:
            problem = (
                f"{MAIN_LOOP}: expected a heartbeat each {self._heartbeat:g} s, got none for {silent:.0f} s: "
                "look at /debug/threads, or start the process again"
            )
        with self._lock:
            if self._alive.ok is bool(problem):
                self._alive = CheckResult(MAIN_LOOP, problem, time.time())
            return CheckResult(MAIN_LOOP, problem, self._alive.since)


class _RepeatedCheck:
    """Runs a check at intervals in a thread of its own, and keeps the last result."""

    def __init__(
        self, name: str, check: Check, liveness: bool, interval: float, patience: float, stopping: threading.Event
    ) -> None:
        self.name, self.liveness = name, liveness
        self._check, self._interval, self._patience, self._stopping = check, interval, patience, stopping
        self._result = CheckResult(name, f"{name}: expected a first result, got none yet: wait for it", time.time())
        self._checked = self._passed = False  # at least once
        self._begun: float | None = None  # when the running check began, by ``time.monotonic``

    def start(self) -> None:
        """Start to check."""
        self._begun = time.monotonic()
        threading.Thread(target=self._run, name=f"health {self.name}", daemon=True).start()

    def result(self) -> CheckResult:
        """Return the last result, or that the running check takes too long."""
        begun, result = self._begun, self._result
        seconds = 0.0 if begun is None else time.monotonic() - begun
        if seconds <= self._patience:
            return result
        hanging = f"{self.name}: expected an answer within {self._patience:g} s, got none for {seconds:.0f} s: it hangs"
        return CheckResult(self.name, hanging, time.time() - seconds if result.ok else result.since)

    def _run(self) -> None:
        while True:
            self._begun = time.monotonic()
            problem = self._problem()
            changed = not self._checked or self._result.ok is bool(problem)  # it passes now and failed before, or the reverse
            # A check that has never passed belongs to a part that is still starting, such as a worker.
            log = logger.error if problem and self._passed else logger.info
            self._passed = self._passed or not problem
            since = time.time() if changed else self._result.since
            self._result, self._checked, self._begun = CheckResult(self.name, problem, since), True, None
            if changed:  # after the result, so that a reader of the log finds it in the report
                log("check %s: %s", self.name, problem or "passes")
            if self._stopping.wait(self._interval):
                return

    def _problem(self) -> str:
        """Run the check; return its problem or an empty text."""
        try:
            return self._check() or ""
        except GeneralsError as error:
            return str(error) or type(error).__name__
        except Exception as error:  # the thread must go on, and a defect of a check must not look like health
            return f"{self.name}: the check failed with {type(error).__name__}: {error}"


def as_response(results: list[CheckResult], well: str, ill: str) -> Response:
    """Return the answer for some results: 200 if all passed, else 503."""
    ok = all(result.ok for result in results)
    body = {"status": well if ok else ill, "checks": [result.as_json() for result in results]}
    return Response(json.dumps(body, indent=2) + "\n", 200 if ok else 503, "application/json")
