"""Tests signals that end a command: recorded games are written, the exit status names the signal, no traceback is printed."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from generals_env import make_vec
from generals_env.cli.ending_signals import EndingSignals
from generals_env.recorders import DatasetWriter, ExperienceRecorder, open_dataset, verify_dataset

if sys.platform == "win32":
    pytest.skip("Windows has neither terminals of this kind nor SIGTERM", allow_module_level=True)

import pty

LIMIT = 400.0  # seconds; kernels may have to be compiled first

PLAYING = rb"playing.* [1-9]\d*/"


#: Makes the terminal that of this session and resets signals as in a shell, before the command starts.
BEGIN = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """Runs a command in its own terminal.

    Attributes:
        process: The command.
        shown: Its output so far.
    """

    def __init__(self, *command: object) -> None:
        self.shown = b""
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGIN, *map(str, command)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def read(self) -> bool:
        """Read output; return False at its end."""
        try:
            if select.select([self.master], [], [], 0.1)[0]:
                data = os.read(self.master, 65536)
                self.shown += data
                return bool(data)
        except OSError:  # the terminal has no user any more
            return False
        return True

    def wait_for(self, pattern: bytes) -> None:
        """Wait until something is shown."""
        end = time.monotonic() + LIMIT
        while not re.search(pattern, self.shown):
            assert self.read(), self.shown
            assert time.monotonic() < end, self.shown

    def status(self) -> int:
        """Return the exit status, once there is one."""
        end = time.monotonic() + LIMIT
        while self.read():
            assert time.monotonic() < end, self.shown
        return self.process.wait(LIMIT)


@contextmanager
def terminal(*command: object) -> Iterator[Terminal]:
    """Lend a terminal in which a command runs; it is ended at the end."""
    lent = Terminal(*command)
    try:
        yield lent
    finally:
        lent.process.kill()
        lent.process.wait()
        os.close(lent.master)


def record(out: Path, *options: object) -> tuple[object, ...]:
    """Return the command that records more games than anyone waits for."""
    return "-m", "generals_env.cli", "record", out, "--games", 100_000, "--height", 8, "--width", 8, *options


def count(place: Path) -> int:
    """Check that all files are whole, and return the number of experiences."""
    report = verify_dataset(place)
    assert report.ok
    assert (report.unindexed, report.gaps, report.repeats, report.leftovers) == ([], {}, {}, [])
    return sum(len(batch) for batch in open_dataset(place))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)], ids=["TERM", "INT", "HUP"]
)
def test_record_writes_recorded_games_when_signal_ends_it(number: int, status: int, tmp_path: Path) -> None:
    with terminal(*record(tmp_path / "out", "--format", "games")) as shell:
        shell.wait_for(PLAYING)
        shell.process.send_signal(number)
        assert shell.status() == status
    told = re.search(rb"interrupted: ([\d,]+) experiences in", shell.shown)
    assert told, shell.shown
    assert int(told[1].replace(b",", b"")) == count(tmp_path / "out") > 0
    assert b"Traceback" not in shell.shown


def test_interrupted_record_keeps_files_and_log_alike(tmp_path: Path) -> None:
    with terminal(*record(tmp_path / "out", "--log", tmp_path / "log")) as shell:
        shell.wait_for(PLAYING)
        shell.process.send_signal(signal.SIGTERM)
        assert shell.status() == 143
    written = {int(number.replace(b",", b"")) for number in re.findall(rb"interrupted: ([\d,]+) experiences in", shell.shown)}
    assert written == {count(tmp_path / "out")} == {count(tmp_path / "log")}
    assert b"Traceback" not in shell.shown


def test_simultaneous_signals_act_as_one(tmp_path: Path) -> None:
    with terminal(*record(tmp_path / "out")) as shell:
        shell.wait_for(PLAYING)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM):
            shell.process.send_signal(number)
        assert shell.status() in (143, 129)  # the first of them
    assert count(tmp_path / "out") > 0


def test_closed_terminal_loses_no_experiences(tmp_path: Path) -> None:
    shell = Terminal(*record(tmp_path / "out"))
    try:
        shell.wait_for(PLAYING)
        os.close(shell.master)
        assert shell.process.wait(LIMIT) == 129
    finally:
        shell.process.kill()
        shell.process.wait()
    assert count(tmp_path / "out") > 0


#: Runs the command line and sends a signal after a few written batches: the progress bar may be too late.
SIGNALLED = """
import signal
from generals_env.cli import main
from generals_env.recorders import DatasetWriter

write, batches = DatasetWriter.write, []

def counted(writer, batch):
    write(writer, batch)
    batches.append(batch)
    if len(batches) == 3:
        signal.raise_signal(signal.SIGTERM)

DatasetWriter.write = counted
main()
"""


def test_convert_leaves_whole_files_when_signal_ends_it(tmp_path: Path) -> None:
    with ExperienceRecorder(
        make_vec(8, height=8, width=8, max_turns=40), DatasetWriter(tmp_path / "many", max_file_bytes=1)
    ) as env:
        env.reset(seed=1)
        for _ in range(40):
            env.play(20, ("expander", "random"))
            env.flush()
    command = ("dataset", "convert", tmp_path / "many", tmp_path / "out", "--format", "tfrecord.gz")
    with terminal("-c", SIGNALLED, *command) as shell:
        assert shell.status() == 143
    assert b"Traceback" not in shell.shown
    assert 0 < count(tmp_path / "out") < count(tmp_path / "many")


COMPILING = """
import numba
from numba.core import compiler_machinery, types
from numba.extending import overload
from generals_env.cli.ending_signals import EndingSignals
import signal, sys

def marked(x):
    pass

@overload(marked)
def _(x):  # runs in the middle of a compilation
    print("compiling", flush=True)
    signal.raise_signal(signal.SIGTERM)
    print("after the signal", flush=True)
    return lambda x: x + 1

@numba.njit
def kernel(x):
    return marked(x)

with EndingSignals() as signals:
    try:
        kernel(1)
        while True:
            pass
    except KeyboardInterrupt:
        print("interrupted", kernel(2), signals.status, flush=True)
"""


def test_signal_waits_for_end_of_compilation() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILING], capture_output=True, text=True, check=False, timeout=LIMIT)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["compiling", "after the signal"], done.stderr
    assert lines[-1] == "interrupted 3 143"
    assert (done.returncode, done.stderr) == (0, "")


AT_ONCE = """
import signal
from generals_env.cli.ending_signals import EndingSignals, ending_at_once
with EndingSignals(), ending_at_once():
    print("begun")
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        print("not reached")
"""


def test_signal_ends_process_at_once_if_nothing_can_be_lost() -> None:
    done = subprocess.run([sys.executable, "-c", AT_ONCE], capture_output=True, text=True, check=False, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (143, "begun\n", "")


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with EndingSignals() as signals:
            signal.raise_signal(signal.SIGHUP)
            assert signals.received == 0
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)  # the same once more
            assert signals.status == 143
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def served(*options: Any) -> tuple[object, ...]:
    """Return the command that serves at a free port."""
    return "-m", "generals_env.cli", "serve", "--address", "127.0.0.1:0", *options


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_serve_stops_cleanly_on_signal(number: int, tmp_path: Path) -> None:
    with terminal(*served("--log", tmp_path / "log")) as shell:
        shell.wait_for(rb"serving at")
        shell.process.send_signal(number)
        assert shell.status() == 0
    assert b"stopped" in shell.shown
    assert b"Traceback" not in shell.shown
