"""Connects the supervisor with a worker process: calls with answers in one direction, log records and events in the other.

Both ends are processes of one run, connected by a pipe that no other process can open, so messages are pickled.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from generals_env.errors import GeneralsError, StateError

__all__ = ["CALL_SECONDS", "ChannelHandler", "SupervisorEnd", "WorkerEnd"]

logger = logging.getLogger(__name__)

#: Seconds that a call waits for its answer.
CALL_SECONDS = 10.0


class WorkerEnd:
    """The end of a worker: answers calls, each in a thread of its own, so that a slow one delays no other."""

    def __init__(self, connection: Connection, handlers: Mapping[str, Callable[..., Any]], on_lost: Callable[[], None]) -> None:
        """Serve calls after ``start``.

        Args:
            connection: The pipe to the supervisor.
            handlers: Functions by name.
            on_lost: Called once the supervisor has ended.
        """
        self._connection, self._handlers, self._on_lost = connection, handlers, on_lost
        self._sending = threading.Lock()

    def start(self) -> None:
        """Start the thread that receives calls."""
        threading.Thread(target=self._receive, name="control", daemon=True).start()

    def send_event(self, name: str, content: Any = None) -> None:
        """Send an event; it is dropped if the supervisor has ended."""
        self._send(("event", name, content))

    def _send(self, message: tuple[Any, ...]) -> None:
        try:
            with self._sending:
                self._connection.send(message)
        except (BrokenPipeError, ConnectionError, OSError):  # the receiving thread notices it, too
            return

    def _receive(self) -> None:
        while True:
            try:
                number, name, arguments = self._connection.recv()
            except (EOFError, OSError):
                self._on_lost()
                return
            threading.Thread(target=self._answer, args=(number, name, arguments), name=f"control {name}", daemon=True).start()

    def _answer(self, number: int, name: str, arguments: dict[str, Any]) -> None:
        try:
            message: tuple[Any, ...] = ("answer", number, self._handlers[name](**arguments), None)
        except GeneralsError as error:
            message = ("answer", number, None, str(error))
        except Exception as error:  # the supervisor reports it: this thread has no caller
            logger.exception("the call %s failed", name)
            message = ("answer", number, None, f"{type(error).__name__}: {error}")
        self._send(message)


class SupervisorEnd:
    """The end of the supervisor: calls functions of a worker, and hands on its events."""

    def __init__(self, connection: Connection, worker: str, on_event: Callable[[str, Any], None]) -> None:
        """Receive in a thread from now on; ``on_event`` is called there."""
        self._connection, self._worker, self._on_event = connection, worker, on_event
        self._numbers = itertools.count()
        self._waiting: dict[int, tuple[threading.Event, list[Any]]] = {}
        self._changing = threading.Lock()
        self._is_open = True
        self._thread = threading.Thread(target=self._receive, name=f"channel to {worker}", daemon=True)
        self._thread.start()

    def call(self, name: str, seconds: float = CALL_SECONDS, **arguments: Any) -> Any:
        """Call a function of the worker and return its result.

        Raises:
            StateError: If the worker has ended, does not answer in time, or its function raised an error.
        """
        answered, answer = (
            threading.Event(),
            [None, f"{self._worker}: expected an answer to {name}, got the end of the process"],
        )
        with self._changing:
            if not self._is_open:
                raise StateError(f"{self._worker}: expected a running worker, got one that has ended: it is restarted")
            number = next(self._numbers)
            self._waiting[number] = (answered, answer)
            try:
                self._connection.send((number, name, arguments))
            except OSError as error:
                del self._waiting[number]
                raise StateError(f"{self._worker}: expected a running worker, got {error}: it is restarted") from error
        if not answered.wait(seconds):
            with self._changing:
                self._waiting.pop(number, None)
            raise StateError(f"{self._worker}: expected an answer to {name} in {seconds:g} s, got none: look at its threads")
        result, problem = answer
        if problem is not None:
            raise StateError(str(problem))
        return result

    def close(self) -> None:
        """Close the pipe, after the worker has ended; calls that wait raise."""
        self._thread.join()
        self._connection.close()

    def _receive(self) -> None:
        while True:
            try:
                kind, *content = self._connection.recv()
            except (EOFError, OSError):
                break
            if kind == "answer":
                number, result, problem = content
                with self._changing:
                    answered, answer = self._waiting.pop(number, (None, []))
                if answered is not None:  # else the caller has given up
                    answer[:] = [result, problem]
                    answered.set()
            else:
                self._on_event(*content)
        with self._changing:
            self._is_open = False
            for answered, _ in self._waiting.values():
                answered.set()
            self._waiting.clear()


class ChannelHandler(logging.Handler):
    """Sends log records to the supervisor, which writes the lines of all processes."""

    def __init__(self, end: WorkerEnd, worker: str) -> None:
        """Send the records of ``worker`` through ``end``."""
        super().__init__()
        self._end, self._worker = end, worker

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record as plain values, as its arguments may hold objects that cannot be sent."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
        fields = {"name": record.name, "level": record.levelno, "time": record.created, "text": text, "worker": self._worker}
        self._end.send_event("log", fields)
