"""Tests the debug endpoint: stacks, allocations, CPU profiles, and the state of buffers and cursors."""

from __future__ import annotations

import json
import pickle
import re
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.helpers import PATIENCE, wait_until
from support.http_calls import get
from support.stream_calls import GAMES, ask, called

from generals_env.errors import ConfigError, StateError
from generals_env.operations.health import debug_endpoint
from generals_env.operations.health.cpu_profile import WAITING, cpu_profile
from generals_env.operations.health.debug_endpoint import Inspect, debug_routes
from generals_env.operations.health.http_server import HttpServer
from generals_env.operations.health.process_inspection import (
    INSPECTIONS,
    buffer_and_cursor_state,
    inspect_process,
    thread_stacks,
    top_allocations,
)
from generals_env.recorders import ExperienceLog, ReplayBuffer
from generals_env.recorders.stream.server.server import ExperienceServer


def count_up(stop: threading.Event) -> None:
    """Keep a processor busy."""
    while not stop.is_set():
        sum(range(1000))


def wait_for(stop: threading.Event) -> None:
    stop.wait(PATIENCE)


@contextmanager
def running(**targets: Any) -> Iterator[None]:
    """Run a thread of each name with a function that gets an event, and set the event at the end."""
    stop = threading.Event()
    threads = [threading.Thread(target=target, args=(stop,), name=name, daemon=True) for name, target in targets.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def served(workers: dict[str, Inspect]) -> Iterator[str]:
    with HttpServer("127.0.0.1:0", debug_routes(workers), "debug.address", loopback_only=True) as server:
        yield server.address


def here(name: str, arguments: dict[str, Any]) -> str:
    return inspect_process(name, arguments, {"answer": 42})


@pytest.mark.checklist("L17")
def test_stacks_show_each_thread_with_its_functions() -> None:
    with running(counter=count_up, waiter=wait_for):
        text = thread_stacks()
    assert re.search(r"counter \(native id \d+, daemon\)\n(  .*\n)*  File .*, in count_up\n", text)
    assert re.search(r"waiter \(native id \d+, daemon\)\n(  .*\n)*  File .*, in wait_for\n", text)
    assert "test_stacks_show_each_thread_with_its_functions" in text


@pytest.mark.checklist("L17")
def test_allocations_name_the_line_that_allocates_and_stop_tracing() -> None:
    def allocate(stop: threading.Event) -> None:
        held = []
        while not stop.wait(0.001):
            held.append(bytearray(100_000))

    with running(allocator=allocate):
        text = top_allocations(count=3, seconds=0.5)
    line = allocate.__code__.co_firstlineno + 3
    assert f"{__file__}:{line}\n" in text
    assert "cost of tracing" in text
    assert not tracemalloc.is_tracing()


def test_allocations_are_those_of_the_process_if_it_traces_always() -> None:
    tracemalloc.start()
    try:
        held = [bytearray(50_000_000)]
        text = top_allocations(count=1, seconds=PATIENCE / 10)
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()
    assert f"{__file__}:{test_allocations_are_those_of_the_process_if_it_traces_always.__code__.co_firstlineno + 3}\n" in text
    assert "since tracing was started with the process" in text
    del held


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the processor time of a thread")
def test_profile_tells_running_from_waiting_threads() -> None:
    with running(counter=count_up, waiter=wait_for):
        stacks = dict(line.rsplit(" ", 1) for line in cpu_profile(1.0, 50, "collapsed").splitlines())
        table = cpu_profile(1.0, 50)
    busy = {stack: int(count) for stack, count in stacks.items() if not stack.endswith(WAITING)}
    idle = {stack: int(count) for stack, count in stacks.items() if stack.endswith(WAITING)}
    counter = sum(count for stack, count in busy.items() if stack.startswith("counter;"))
    waiter = sum(count for stack, count in idle.items() if stack.startswith("waiter;"))
    assert counter > 2 * sum(count for stack, count in idle.items() if stack.startswith("counter;"))
    assert waiter > 2 * sum(count for stack, count in busy.items() if stack.startswith("waiter;"))
    assert any(";test_debug_endpoint.wait_for;" in stack for stack in idle)
    assert re.search(r"^ +[\d.]+% +[\d.]+%  test_debug_endpoint.count_up$", table, re.MULTILINE)


def test_profile_runs_once_at_a_time_and_checks_its_arguments() -> None:
    started = threading.Event()

    def profile(stop: threading.Event) -> None:
        started.set()
        cpu_profile(2.0)

    with running(profiler=profile):
        started.wait(PATIENCE)

        def refused() -> bool:
            try:
                cpu_profile(0.01)
            except StateError as error:
                return str(error).startswith("profile: expected one at a time")
            return False

        wait_until(refused)
    for arguments in ({"seconds": 0}, {"seconds": 61}, {"seconds": "1"}, {"hertz": 0}, {"form": "svg"}):
        with pytest.raises(ConfigError, match=f"{next(iter(arguments))}: expected"):
            cpu_profile(**arguments)


def test_inspections_are_found_by_name_and_pickle() -> None:
    for name, function in INSPECTIONS.items():
        assert pickle.loads(pickle.dumps(function)).__name__ == name
    assert json.loads(inspect_process("buffer_and_cursor_state", {}, {"a": 1})) == {"a": 1}
    with pytest.raises(ConfigError, match="name: expected one of thread_stacks, "):
        inspect_process("eval", {})


@pytest.mark.checklist("L17")
def test_state_shows_buffer_log_consumers_and_streams(tmp_path: Path) -> None:
    buffer = ReplayBuffer(1000)
    buffer.write(GAMES[0])
    with ExperienceLog(tmp_path) as log, ExperienceServer(log, "127.0.0.1:0") as server:
        log.write(GAMES[0])
        log.write(GAMES[1])
        log.commit("trainer", 99)
        parts = {"buffer": buffer, "log": log, "streams": server, "threads": threading.active_count, "folder": tmp_path}
        with called(server) as stub:
            stream = stub.StreamExperiences(ask(follow=True))
            assert next(stream).sequence == 0
            state = json.loads(buffer_and_cursor_state(parts))
            stream.cancel()
    assert state["buffer"]["size"] == 120
    assert state["log"]["last"] == 239
    assert state["log"]["consumers"] == {"trainer": {"position": 99, "lag": 140}}
    assert set(state["streams"][0]) >= {"peer", "next_sequence", "lag", "missed"}
    assert state["threads"] >= 1
    assert state["folder"] == str(tmp_path)


def test_state_of_unreadable_part_is_its_error_beside_the_others(tmp_path: Path) -> None:
    state = json.loads(buffer_and_cursor_state({"log": lambda: ExperienceLog(tmp_path / "missing", mode="r"), "number": 3}))
    assert state["number"] == 3
    assert set(state["log"]) == {"error"}


@pytest.mark.checklist("L17")
def test_endpoint_shows_all_processes_on_all_paths() -> None:
    with running(counter=count_up), served({"collector": here, "storage": here}) as address:
        status, text = get(address, "/debug/")
        assert status == 200
        assert "Processes: collector, storage" in text
        for path in re.findall(r"/debug/[^ ]*", text):
            assert get(address, path.replace("seconds=5", "seconds=0.2"))[0] == 200, path
        assert "\n=== storage ===\n" in get(address, "/debug/threads")[1]
        assert "\n=== storage ===\n" not in get(address, "/debug/threads?worker=collector")[1]
        lines = get(address, "/debug/profile?seconds=0.5&form=collapsed")[1].splitlines()
        assert all(re.fullmatch(r"(collector|storage);\S+ \d+|error: .*", line) for line in lines)
        assert any(line.startswith("collector;counter;") for line in lines)
        assert json.loads(get(address, "/debug/state")[1]) == {"collector": {"answer": 42}, "storage": {"answer": 42}}


@pytest.mark.parametrize(
    "query",
    [
        "profile?seconds=x",
        "profile?seconds=61",
        "profile?seconds=-1",
        "profile?seconds=nan",
        "profile?form=svg",
        "allocations?count=0",
        "threads?worker=other",
    ],
)
def test_endpoint_refuses_wrong_arguments(query: str) -> None:
    with served({"collector": here}) as address:
        status, text = get(address, f"/debug/{query}")
        assert status == 400
        assert text.startswith(f"{query.split('?')[1].split('=', maxsplit=1)[0]}: expected")


def test_endpoint_measures_once_at_a_time() -> None:
    going, begun = threading.Event(), threading.Event()

    def slow(name: str, arguments: dict[str, Any]) -> str:
        begun.set()
        going.wait(PATIENCE)
        return "done\n"

    with served({"collector": slow}) as address:
        first = threading.Thread(target=get, args=(address, "/debug/profile?seconds=5"))
        first.start()
        begun.wait(PATIENCE)
        status, text = get(address, "/debug/profile?seconds=5")
        assert status == 500
        assert text.startswith("/debug/profile: expected one measurement at a time")
        going.set()
        first.join()
        assert get(address, "/debug/profile?seconds=5") == (200, "=== collector ===\ndone\n")


def test_endpoint_shows_others_beside_process_that_hangs_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_endpoint, "PATIENCE", 0.2)
    going = threading.Event()

    def hang(name: str, arguments: dict[str, Any]) -> str:
        going.wait(PATIENCE)
        return ""

    def fail(name: str, arguments: dict[str, Any]) -> str:
        raise StateError("worker: it ended")

    with served({"collector": hang, "storage": fail, "supervisor": here}) as address:
        state = json.loads(get(address, "/debug/state?")[1])
        assert state["collector"]["error"] == "expected an answer within 0.2 s, got none: the process hangs"
        assert state["storage"]["error"] == "worker: it ended"
        going.set()


def test_allocations_run_once_at_a_time() -> None:
    def trace(stop: threading.Event) -> None:
        top_allocations(seconds=1.0)

    with running(tracer=trace):
        wait_until(tracemalloc.is_tracing)
        with pytest.raises(StateError, match="allocations: expected one call at a time"):
            top_allocations(seconds=0.1)
    for arguments in ({"count": 0}, {"seconds": 0}):
        with pytest.raises(ConfigError, match=f"{next(iter(arguments))}: expected"):
            top_allocations(**arguments)
