"""Serves the inspections of all processes of a run over HTTP: stacks, allocations, CPU profiles, buffers and cursors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from generals_env.errors import ConfigError, GeneralsError, StateError
from generals_env.operations.health.cpu_profile import FORMS, MAX_SECONDS
from generals_env.operations.health.http_server import Handler, Request, Response

__all__ = ["Inspect", "debug_routes"]

#: Calls an inspection of a process by name with arguments; see ``inspect_process``.
Inspect = Callable[[str, dict[str, Any]], str]

JSON = "application/json"

PATIENCE = 10.0  # seconds for an answer, besides those that the inspection itself takes

INDEX = """\
Debug endpoint of generals_env. All paths take ?worker=NAME for one process.

/debug/threads                             stack of each thread
/debug/allocations?count=25&seconds=5      lines of code that allocated most; slows Python down meanwhile
/debug/profile?seconds=5&hertz=100         functions by their samples
/debug/profile?seconds=5&form=collapsed    stacks and samples, for flamegraph.pl, inferno or speedscope
/debug/state                               buffers, streams, log and storage, as JSON

Processes: {workers}
"""


def debug_routes(workers: Callable[[], Mapping[str, Inspect]] | Mapping[str, Inspect]) -> dict[str, Handler]:
    """Return the routes of the debug endpoint.

    Args:
        workers: The function that inspects each process, by the name of the process; or a function that returns them now.
            One that raises ``GeneralsError`` or does not answer in time is reported in the answer; the others are shown.
    """
    busy = threading.Lock()

    def current(request: Request) -> Mapping[str, Inspect]:
        found = workers() if callable(workers) else workers
        name = request.query.get("worker")
        if name is None:
            return found
        if name not in found:
            raise ConfigError(f"worker: expected one of {', '.join(found)}, got {name!r}")
        return {name: found[name]}

    def measured(request: Request, name: str, arguments: dict[str, Any]) -> dict[str, str]:
        """Ask for what costs time, one request at a time."""
        seconds = arguments["seconds"] = number(request, "seconds", 5.0, MAX_SECONDS)
        if not busy.acquire(blocking=False):
            raise StateError(f"{request.path}: expected one measurement at a time, got a second one: wait for the first one")
        try:
            return ask_all(current(request), name, arguments, seconds + PATIENCE)
        finally:
            busy.release()

    def index(request: Request) -> Response:
        return Response(INDEX.format(workers=", ".join(current(request))))

    def threads(request: Request) -> Response:
        return Response(joined(ask_all(current(request), "thread_stacks", {}, PATIENCE)))

    def allocations(request: Request) -> Response:
        count = int(number(request, "count", 25, 1000))
        return Response(joined(measured(request, "top_allocations", {"count": count})))

    def profile(request: Request) -> Response:
        form = request.query.get("form", "table")
        if form not in FORMS:
            raise ConfigError(f"form: expected {' or '.join(FORMS)}, got {form!r}")
        answers = measured(request, "cpu_profile", {"hertz": int(number(request, "hertz", 100, 1000)), "form": form})
        if form != "collapsed":
            return Response(joined(answers))
        lines = (
            f"{line}\n" if line.startswith("error: ") else f"{name};{line}\n"
            for name, text in answers.items()
            for line in text.splitlines()
        )
        return Response("".join(lines))

    def state(request: Request) -> Response:
        answers = ask_all(current(request), "buffer_and_cursor_state", {}, PATIENCE)
        return Response(json.dumps({name: as_json(text) for name, text in answers.items()}, indent=2) + "\n", 200, JSON)

    return {
        "/debug/": index,
        "/debug/threads": threads,
        "/debug/allocations": allocations,
        "/debug/profile": profile,
        "/debug/state": state,
    }


def number(request: Request, name: str, default: float, maximum: float) -> float:
    """Return a number of a query.

    Raises:
        ConfigError: If it is not a number above 0, at most ``maximum``.
    """
    text = request.query.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= maximum:
        raise ConfigError(f"{name}: expected a number above 0, at most {maximum:g}, got {text!r}")
    return value


def ask_all(workers: Mapping[str, Inspect], name: str, arguments: dict[str, Any], patience: float) -> dict[str, str]:
    """Ask all processes at once, and return the answer or the problem of each."""
    answers: dict[str, Future[str]] = {}
    for worker, inspect in workers.items():
        answers[worker] = Future()
        # A thread each, not a pool: the thread of a process that hangs stays behind, and must not use up a pool.
        thread = threading.Thread(
            target=answer, args=(answers[worker], inspect, name, arguments), name=f"debug {worker}", daemon=True
        )
        thread.start()
    texts = {}
    for worker, future in answers.items():
        try:
            texts[worker] = future.result(patience)
        except TimeoutError:
            texts[worker] = f"error: expected an answer within {patience:g} s, got none: the process hangs\n"
        except GeneralsError as error:
            texts[worker] = f"error: {error}\n"
    return texts


def answer(future: Future[str], inspect: Inspect, name: str, arguments: dict[str, Any]) -> None:
    """Call an inspection and keep its answer or exception."""
    try:
        future.set_result(inspect(name, arguments))
    except Exception as error:
        future.set_exception(error)


def joined(answers: Mapping[str, str]) -> str:
    """Return the answers of all processes below each other."""
    return "\n".join(f"=== {name} ===\n{text}" for name, text in answers.items())


def as_json(text: str) -> Any:
    """Return an answer as values of JSON; a text that says a problem as such."""
    try:
        return json.loads(text)
    except ValueError:
        return {"error": text.strip().removeprefix("error: ")}
