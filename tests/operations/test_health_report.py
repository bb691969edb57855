"""Tests that health over HTTP and gRPC tells the truth about real logs, sinks and processes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.command_line import run, runner
from support.helpers import PATIENCE, wait_until
from support.http_calls import get
from support.stream_calls import GAMES

from generals_env.cli.app import app
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.operations.health.grpc_health import grpc_health_check
from generals_env.operations.health.health_report import Check, HealthReport
from generals_env.operations.health.http_server import HttpServer
from generals_env.recorders import ExperienceLog
from generals_env.recorders.stream.server.log_source import LogSource
from generals_env.recorders.stream.server.server import ExperienceServer


def report_of(address: str, path: str = "/readyz") -> tuple[int, dict[str, str | None]]:
    """Return the status of a report, and the problem of each check."""
    status, text = get(address, path)
    answer = json.loads(text)
    assert (status == 200) is (answer["status"] in {"ready", "alive"})
    assert all(check["ok"] is (check["problem"] is None) and check["since"] for check in answer["checks"])
    return status, {check["name"]: check["problem"] for check in answer["checks"]}


def ready(address: str) -> bool:
    return report_of(address)[0] == 200


@contextmanager
def served(patience: float = PATIENCE, **checks: Check) -> Iterator[tuple[str, HealthReport]]:
    """Serve a report over some checks; yield its address and the report."""
    report = HealthReport(heartbeat=PATIENCE, patience=patience, interval=0.05)
    for name, check in checks.items():
        report.add(name, check)
    with report, HttpServer("127.0.0.1:0", report.routes()) as server:
        yield server.address, report


def problem_of(address: str, name: str) -> str:
    return report_of(address)[1][name] or ""


@pytest.mark.checklist("N6")
def test_readiness_follows_log_that_cannot_be_written(tmp_path: Path) -> None:
    """A segment of the log is moved away and back; HTTP and gRPC agree."""
    log = ExperienceLog(tmp_path)
    with ExperienceServer(log, "127.0.0.1:0") as stream:
        checks = {"log": LogSource(log).check, "stream": lambda: grpc_health_check(stream.address)}
        with served(**checks) as (address, _):
            wait_until(lambda: ready(address))
            log.write(GAMES[0])
            current = next(tmp_path.glob("segment_*.db"))
            hidden = current.rename(tmp_path / "hidden")
            wait_until(lambda: problem_of(address, "log") and problem_of(address, "stream"))
            assert report_of(address)[0] == 503
            assert problem_of(address, "stream").endswith("look at the log records of the server for the reason")
            assert report_of(address, "/healthz") == (200, {"main loop": None})
            hidden.rename(current)
            wait_until(lambda: ready(address))
    log.close()


@pytest.mark.checklist("N6")
@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs Linux and root to mount a small disk")
def test_readiness_follows_disk_that_is_full_or_read_only(tmp_path: Path) -> None:
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if mount.returncode:
        pytest.skip(f"cannot mount: {mount.stderr}")
    try:
        log = ExperienceLog(tmp_path / "log", min_free_bytes=2**20, segment_bytes=2**18)
        with served(log=LogSource(log).check) as (address, _):
            wait_until(lambda: ready(address))
            (tmp_path / "other").write_bytes(bytes(3_500_000))
            wait_until(lambda: problem_of(address, "log").startswith("min_free_bytes: expected "))
            (tmp_path / "other").unlink()
            wait_until(lambda: ready(address))
        log.close()
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_readiness_reports_check_that_hangs_and_answers_meanwhile(tmp_path: Path) -> None:
    """Another program holds the lock of the log's database, so that a write waits."""
    log = ExperienceLog(tmp_path)
    log.write(GAMES[0])
    with served(patience=0.2, log=LogSource(log).check, other=lambda: None) as (address, _):
        wait_until(lambda: ready(address))
        other = sqlite3.connect(next(tmp_path.glob("segment_*.db")), isolation_level=None)
        other.execute("begin immediate")
        wait_until(lambda: problem_of(address, "log").startswith("log: expected an answer within 0.2 s, got none for"))
        assert problem_of(address, "other") == ""
        other.execute("rollback")
        other.close()
        wait_until(lambda: ready(address))
    log.close()


def test_liveness_follows_heartbeat() -> None:
    report = HealthReport(heartbeat=0.3, interval=0.05)
    with report, HttpServer("127.0.0.1:0", report.routes()) as server:
        wait_until(lambda: report_of(server.address, "/healthz")[0] == 503)
        assert (report_of(server.address)[1]["main loop"] or "").startswith("main loop: expected a heartbeat each 0.3 s")

        def alive() -> bool:
            report.beat()
            return report_of(server.address, "/healthz")[0] == 200

        wait_until(alive)


def test_liveness_holds_only_checks_that_need_a_new_process() -> None:
    report = HealthReport(heartbeat=PATIENCE, interval=0.05)
    report.add("disk", lambda: "disk: full")
    with report, HttpServer("127.0.0.1:0", report.routes()) as server:
        report.add("kernel", lambda: "kernel: broken", liveness=True)  # while it runs
        wait_until(
            lambda: report_of(server.address)[1] == {"main loop": None, "disk": "disk: full", "kernel": "kernel: broken"}
        )
        assert report_of(server.address, "/healthz") == (503, {"main loop": None, "kernel": "kernel: broken"})


def test_readiness_waits_for_the_first_result_and_ends_with_stop() -> None:
    going = threading.Event()
    with served(slow=lambda: None if going.wait(PATIENCE) else "late") as (address, report):
        assert problem_of(address, "slow") == "slow: expected a first result, got none yet: wait for it"
        going.set()
        wait_until(lambda: ready(address))
        report.stop()
        assert problem_of(address, "stop") == "the process stops: send work to another one"


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (StorageError("disk: expected free space, got none"), "disk: expected free space, got none"),
        (ZeroDivisionError("oh"), "part: the check failed with ZeroDivisionError: oh"),
    ],
)
def test_check_that_raises_is_a_problem_and_logged(error: Exception, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    def check() -> None:
        raise error

    caplog.set_level("INFO", "generals_env")
    with served(part=check) as (address, _):
        wait_until(lambda: problem_of(address, "part") == problem)
    assert f"check part: {problem}" in caplog.text
    assert caplog.text.count("check part") == 1, "a log record for each change only"


def test_check_is_logged_as_error_only_after_it_has_passed(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that is still starting is no error; one that fails later is."""
    caplog.set_level("INFO", "generals_env")
    problems = ["part: starting"]
    with served(part=lambda: problems[0]) as (address, _):
        for problem in ("part: starting", "", "part: broken"):
            problems[0] = problem
            wait_until(lambda: problem_of(address, "part") == problem)  # noqa: B023 - called at once
    levels = [(record.levelname, record.getMessage()) for record in caplog.records if "check part" in record.getMessage()]
    assert levels == [
        ("INFO", "check part: part: starting"),
        ("INFO", "check part: passes"),
        ("ERROR", "check part: part: broken"),
    ]


def test_since_is_the_time_of_the_last_change() -> None:
    problems = [""]
    with served(part=lambda: problems[0]) as (address, report):
        wait_until(lambda: ready(address))
        before = report.readiness()[1].since
        time.sleep(0.2)
        assert report.readiness()[1].since == before
        problems[0] = "part: broken"
        wait_until(lambda: not ready(address))
        assert report.readiness()[1].since > before


def test_report_refuses_taken_names_and_second_start() -> None:
    report = HealthReport()
    report.add("log", lambda: None)
    for name in ("log", "main loop"):
        with pytest.raises(ConfigError, match="name: expected one that is not taken, got"):
            report.add(name, lambda: None)
    with report, pytest.raises(StateError, match="start: expected a new report"):
        report.start()


def test_grpc_health_of_missing_server_is_a_problem() -> None:
    problem = grpc_health_check("127.0.0.1:1", timeout=PATIENCE)
    assert problem is not None
    assert "got UNAVAILABLE" in problem


def test_command_asks_stream_for_its_health(tmp_path: Path) -> None:
    log = ExperienceLog(tmp_path)
    with ExperienceServer(log, "127.0.0.1:0") as stream:
        assert run("health", "--stream", stream.address, "--timeout", PATIENCE) == "serving"
        address = stream.address
    log.close()
    found = runner.invoke(app, ["health", "--stream", address, "--timeout", "30"])
    assert (found.exit_code, found.output.startswith("stream: expected an answer of")) == (1, True)
