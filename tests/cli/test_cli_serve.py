"""Tests the command ``serve``: options of its log, its buffer and its limits, and folders that are no log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.command_line import run, runner
from support.helpers import PATIENCE
from support.recorded import record_game

from generals_env.cli.app import app
from generals_env.errors import ConfigError, GeneralsError, StorageError
from generals_env.recorders import ExperienceConsumer, ExperienceLog, ReplayBuffer, SubmittingSink
from generals_env.recorders.stream.server.limits import Limits

server = pytest.importorskip("generals_env.recorders.stream.server.server")

GAMES = ("--games", 2, "--height", 5, "--width", 5, "--max-turns", 40, "--policies", "expander,random")


class Served(Exception):  # noqa: N818 - it is not an error
    """Ends the command when it would serve."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """Return a list that gets the source and the options of the server."""
    seen: list[tuple[Any, dict[str, Any]]] = []

    def note(source: Any, address: str, **options: Any) -> None:
        seen.append((source, options))
        raise Served

    monkeypatch.setattr(server, "ExperienceServer", note)
    return seen


def ask(*arguments: object) -> BaseException | None:
    """Return what ends ``serve``."""
    return runner.invoke(app, ["serve", *map(str, arguments)]).exception


@contextmanager
def serving(*arguments: object) -> Iterator[str]:
    """Run ``serve`` in a process, and return its address."""
    command = [sys.executable, "-m", "generals_env.cli", "serve", "--address", "127.0.0.1:0", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving at ")
        yield line.split()[-1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()


def test_all_limits_reach_the_server(served: list[tuple[Any, dict[str, Any]]]) -> None:
    values = {"max_connections": 3, "max_message_bytes": 70_000, "max_requests_per_second": 5, "max_unpacked_bytes": 7}
    values |= {"cache_bytes": 8, "remembered": 9}
    options = [part for name, value in values.items() for part in (f"--{name.replace('_', '-')}", value)]
    assert isinstance(ask("--buffer", 10, "--overflow", "raise", *options), Served)
    ((source, given),) = served
    assert given["limits"] == Limits(**values)
    assert isinstance(source, ReplayBuffer)
    with pytest.raises(GeneralsError):
        source.write(record_game(1))
    assert isinstance(ask("--buffer", 10, "--overflow", "often"), ConfigError)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_retention_of_the_served_log_is_kept(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path / "log") as log:
        log.commit("slow", -1)  # a consumer that has read nothing
    for options, first in (((), False), (("--drop-unread",), True)):
        with serving(
            tmp_path / "log", "--segment-bytes", 1, "--max-bytes", 30_000, "--durability", "normal", *options
        ) as address:
            for seed in range(5):
                with SubmittingSink(address) as sink:
                    assert sink.write(record_game(seed + 5 * first, 60)) == 120
            with ExperienceConsumer(address) as consumer:
                stats = consumer.stats(place_only=True)
        assert (stats.first_sequence > 0) is first
        assert stats.next_sequence == 600 + 600 * first


def test_options_of_the_log_are_checked(tmp_path: Path) -> None:
    for option, value, text in (
        ("--durability", "never", "durability: expected one of commit, normal"),
        ("--max-age", 0, "max_age: expected seconds above 0"),
        ("--max-bytes", 0, "max_bytes: expected an integer from 1"),
        ("--segment-bytes", 0, "segment_bytes: expected an integer from 1"),
        ("--min-free-bytes", -1, "min_free_bytes: expected an integer from 0"),
    ):
        error = ask(tmp_path / "log", option, value)
        assert isinstance(error, ConfigError)
        assert str(error).startswith(text)
    assert isinstance(ask(tmp_path / "log", "--min-free-bytes", 2**62, "--address", "example.org:1"), ConfigError)


@pytest.mark.checklist("A2")
def test_recorded_folder_is_refused_with_command_that_makes_a_log(
    tmp_path: Path, served: list[tuple[Any, dict[str, Any]]]
) -> None:
    folder = tmp_path / "games"
    run("record", folder, *GAMES)
    for options in ((folder,), ("--log", folder), ("--log", folder, "--read-only")):
        error = ask(*options)
        assert isinstance(error, StorageError)
        command = str(error).partition("generals-env ")[2].partition(", and serve")[0]
        assert command == f"dataset convert {folder} {folder}-log --format log"
    run(*command.split())
    assert isinstance(ask(f"{folder}-log"), Served)
    assert served[0][0].last == 159


def test_log_is_named_once(tmp_path: Path) -> None:
    for options in ((), (tmp_path, "--log", tmp_path), (tmp_path, "--buffer", 10)):
        error = ask(*options)
        assert isinstance(error, ConfigError)
        assert str(error).startswith("log, buffer: expected one of the two")
