"""Starts one worker process, watches it, and starts it again when it ends: the supervisor's view of a worker."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from multiprocessing.process import BaseProcess
from typing import Any

from generals_env.errors import StateError
from generals_env.operations.run.control_channel import SupervisorEnd
from generals_env.operations.run.structured_logs import replay_record
from generals_env.operations.run.worker_process import blocked_signals, run_worker
from generals_env.operations.settings.models import Settings

__all__ = ["WorkerHandle"]

logger = logging.getLogger(__name__)

SIGNAL = "killed by signal"

KILLED = f"{SIGNAL} 9"

FIRST_TRIES = 3  # processes that may be killed before one has ever worked

PAUSES = (0.2, 1.0, 5.0, 15.0, 30.0)  # seconds before a worker that has ended is started again; the last one repeats

STABLE = 60.0  # seconds of work after which the first pause is used again

UNRESPONSIVE = 60.0  # seconds without an answer after which a worker is killed, to be started again


class WorkerHandle:
    """One worker of a run, which may be several processes in turn.

    Attributes:
        name: Name of the worker and its role.
        restarts: How often it was started again.
        is_ready: Whether the process works.
        has_finished: Whether a process ended because its work was done.
        failure: Why the last process ended, empty if it has not.
        found: What the worker reported when it became ready.
        status: The last status.
        unanswered: Why the process did not answer the last time; empty if it did.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        """Prepare a worker; ``start`` starts its process."""
        self.name = name
        self.settings = settings
        self._changing = threading.Lock()  # of ``settings``: changes come from another thread than events
        self._is_changed = False  # since the process was started or was told the last time
        self.restarts = 0
        self.is_ready = self.has_finished = self.was_ready = False
        self.failure = ""
        self._reported = ""  # by the process itself, before it ended
        self.found: dict[str, Any] = {}
        self.status: dict[str, Any] = {}
        self.unanswered = ""
        self.process: BaseProcess | None = None
        self._channel: SupervisorEnd | None = None
        self._began = self._answered = 0.0
        self._tries = 0
        self._again_at: float | None = None
        self._is_polling = False

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None

    @property
    def is_lost(self) -> bool:
        """Whether no process has ever worked, from a cause that stays, such as a folder without permission.

        One that was killed, for example as memory was short, is started again a few times.
        """
        was_killed = self.failure == KILLED and self._tries < FIRST_TRIES
        return bool(self.failure) and not self.was_ready and not was_killed

    @property
    def silent_seconds(self) -> float:
        """Seconds since the process became ready or answered."""
        return time.monotonic() - self._answered

    def start(self) -> None:
        """Start a process."""
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
        ours, theirs = context.Pipe()
        self.is_ready, self._again_at = False, None
        with self._changing:
            settings, self._is_changed = self.settings, False
        self.process = context.Process(target=run_worker, args=(self.name, settings, theirs), name=f"generals-env {self.name}")
        with blocked_signals():
            self.process.start()
        theirs.close()  # so that the end of the process closes the pipe
        self._began = self._answered = time.monotonic()
        self._reported = ""
        self._channel = SupervisorEnd(ours, self.name, self._take_event)

    def call(self, name: str, seconds: float = 10.0, **arguments: Any) -> Any:
        """Call a function of the worker.

        Raises:
            StateError: If there is no process, or it does not answer in time.
        """
        channel = self._channel
        if channel is None:
            raise StateError(f"{self.name}: expected a running worker, got one that has ended: it is restarted")
        return channel.call(name, seconds, **arguments)

    def drain(self) -> None:
        """Ask the process to finish its work and end."""
        self._again_at = None
        if self.process is not None:
            self._try_call("drain")

    def change(self, settings: Settings) -> None:
        """Take over live settings: the process is told as soon as it works; one that is started later has them, too."""
        with self._changing:
            self.settings, self._is_changed = self._at_address(settings), True

    def kill(self) -> None:
        """Kill the process."""
        if self.process is not None:
            self.process.kill()

    def watch(self, restart: bool) -> None:
        """Notice the end of the process, poll its status, and start another one if that is due; call it several times a second.

        Args:
            restart: Whether to start another process when one has ended before its work was done.
        """
        now = time.monotonic()
        if self.process is not None and self.process.exitcode is not None:
            self._end(self.process.exitcode, restart)
        elif self.process is not None:
            if self.is_ready and now - self._answered > UNRESPONSIVE:  # before that it compiles kernels
                logger.error("worker %s has not answered for %d s: it is killed", self.name, UNRESPONSIVE)
                self.kill()
            elif self.is_ready and not self._is_polling:
                self._is_polling = True
                threading.Thread(target=self._poll, name=f"status of {self.name}", daemon=True).start()
        elif self._again_at is not None and now >= self._again_at:
            self.restarts += 1
            logger.warning("worker %s is started again", self.name, extra={"restarts": self.restarts})
            self.start()

    def _end(self, code: int, restart: bool) -> None:
        """Clean up after a process, and plan the next one."""
        if self._channel is not None:
            self._channel.close()
        self.process, self._channel = None, None
        worked = time.monotonic() - self._began
        self.is_ready = False
        if self.has_finished:
            return
        self.failure = self._reported or (f"{SIGNAL} {-code}" if code < 0 else f"exit status {code}")
        self._tries = 0 if worked > STABLE else self._tries
        logger.error("worker %s ended: %s", self.name, self.failure, extra={"exitcode": code})
        if restart:
            self._again_at = time.monotonic() + PAUSES[min(self._tries, len(PAUSES) - 1)]
            self._tries += 1

    def _poll(self) -> None:
        """Ask for the status; in a thread, as a busy worker answers late."""
        try:
            self._tell_changes()
            self.status = self.call("status")
            self._answered = time.monotonic()
            self.unanswered = ""
        except StateError as error:
            self.unanswered = str(error)
        finally:
            time.sleep(0.5)
            self._is_polling = False

    def _tell_changes(self) -> None:
        """Send settings that have changed since the process was started."""
        with self._changing:
            settings, is_changed, self._is_changed = self.settings, self._is_changed, False
        if is_changed:
            self._try_call("change", settings=settings)

    def _try_call(self, name: str, **arguments: Any) -> None:
        try:
            self.call(name, **arguments)
        except StateError as error:
            logger.warning("worker %s did not take %s: %s", self.name, name, error)

    def _at_address(self, settings: Settings) -> Settings:
        """Return settings with the address of the first process: the system has chosen its port if that was 0."""
        if (address := self.found.get("address")) is None:
            return settings
        return settings.model_copy(update={"streaming": settings.streaming.model_copy(update={"address": address})})

    def _take_event(self, name: str, content: Any) -> None:
        """Take an event of the process, in the thread of the channel."""
        if name == "log":
            replay_record(content)
        elif name == "ready":
            self.found, self.is_ready, self.was_ready, self.failure = content, True, True, ""
            self._answered = time.monotonic()
            with self._changing:
                self.settings = self._at_address(self.settings)
            logger.info(
                "worker %s is ready", self.name, extra=content | {"pid": None if self.process is None else self.process.pid}
            )
        elif name == "ended":
            self.status, self.has_finished = content, True
        elif name == "failed":
            self._reported = content
