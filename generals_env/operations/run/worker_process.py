"""Runs one worker of a run: the entry point of its process, its calls from the supervisor, and how it ends."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Protocol

from generals_env.errors import GeneralsError
from generals_env.operations.health.process_inspection import inspect_process
from generals_env.operations.run.control_channel import ChannelHandler, WorkerEnd
from generals_env.operations.run.structured_logs import set_level
from generals_env.operations.settings.models import Settings

__all__ = ["ROLES", "Role", "blocked_signals", "run_worker"]

logger = logging.getLogger(__name__)

IGNORED = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows: no SIGHUP

FAILED = 1  # exit status of a worker that reported why it ended


class Role(Protocol):
    """What a worker does. All methods but ``run`` are called from other threads."""

    def run(self, ready: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Work until ``drain`` is called; call ``ready`` once work begins; return the final figures.

        Raises:
            GeneralsError: If it cannot go on. The supervisor starts another worker.
        """

    def drain(self) -> None:
        """Ask ``run`` to finish what was begun and return."""

    def change(self, settings: Settings) -> None:
        """Take over changed settings."""

    def status(self) -> dict[str, Any]:
        """Return figures for the live table, and ``problems``: a text for each thing that does not work."""

    def metrics(self) -> bytes:
        """Return the metric families of this process, see ``metrics.transport``."""

    def parts(self) -> dict[str, Any]:
        """Return buffers, log, streams and writers for the debug endpoint, see ``buffer_and_cursor_state``."""


def collector(settings: Settings) -> Role:
    """Return the role that plays, records and streams."""
    from generals_env.operations.run.collector import Collector

    return Collector(settings)


def storage(settings: Settings) -> Role:
    """Return the role that writes the log's experience to files."""
    from generals_env.operations.run.storage_worker import StorageWorker

    return StorageWorker(settings)


#: Roles by name. Each imports what it needs only in its process.
ROLES: Mapping[str, Callable[[Settings], Role]] = {"collector": collector, "storage": storage}


def run_worker(name: str, settings: Settings, connection: Connection) -> None:
    """Run a worker in this process until it is drained, the supervisor ends, or it fails.

    Signals that end a run are ignored, as terminals and service managers send them to all of its processes: the supervisor asks
    its workers to drain, one after the other.
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
    draining = threading.Event()
    calls: dict[str, Callable[..., Any]] = {
        "drain": draining.set,
        "inspect": lambda inspection, arguments: inspect_process(inspection, arguments, role.parts()),
    }
    end = WorkerEnd(connection, calls, on_lost=draining.set)
    logging.getLogger().addHandler(ChannelHandler(end, name))
    logging.captureWarnings(True)
    set_level(settings.logging.level)
    try:
        role = ROLES[name](settings)
        calls |= {"change": role.change, "status": role.status, "metrics": role.metrics}
        threading.Thread(target=drain_when_asked, args=(draining, role), name="drain", daemon=True).start()
        end.start()
        end.send_event("ended", role.run(lambda found: end.send_event("ready", found)))
    except GeneralsError as error:
        end.send_event("failed", str(error))
        raise SystemExit(FAILED) from None


@contextmanager
def blocked_signals() -> Iterator[None]:
    """Let a process that is started in the block begin without these signals, which would end it before it can ignore them.

    This process gets those that came meanwhile after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # started in the block it would unblock them
    former = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def drain_when_asked(draining: threading.Event, role: Role) -> None:
    """Drain a role as soon as the event is set: before the role exists, too."""
    draining.wait()
    role.drain()
