"""Tests what is shown while kernels are compiled: a line on a terminal, a log record elsewhere, and never anything on stdout.

The kernel of these tests is small; the constants that say what takes long are changed in the process that compiles it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no terminals of this kind", allow_module_level=True)

import pty

COMPILE = """
import multiprocessing, sys, threading, time
import numpy as np
from generals_env.engine.kernel_cache import compile_notice
compile_notice.PATIENCE = compile_notice.SHORT_PATIENCE = {patience}
from generals_env.engine.observations.fog_memory import remember

def call():
    remember(np.zeros((1, 9, 16), np.float32), np.zeros(1, np.bool_), np.zeros((1, 16, 16), np.float32))

if __name__ == "__main__":
    {run}
    print("ready")
"""

IN_THREAD = "thread = threading.Thread(target=call); thread.start(); thread.join()"


def environment(folder: Path, **changes: str) -> dict[str, str]:
    return os.environ | {"NUMBA_CACHE_DIR": str(folder), "TERM": "xterm"} | changes


def compile_with_pipes(folder: Path, patience: float = 0.0, run: str = "call()", **changes: str) -> str:
    """Compile in a new process, check what it prints, and return what it writes to stderr."""
    script = folder.parent / "script.py"
    script.write_text(COMPILE.format(patience=patience, run=run))
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment(folder, **changes),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert done.stdout == "ready\n"
    return done.stderr


def compile_on_terminal(folder: Path, run: str = "call()") -> str:
    """Compile in a new process whose stderr is a terminal, and return what is written there."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", COMPILE.format(patience=0.0, run=run)],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=slave,
    )
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # the process has closed its side
        pass
    os.close(master)
    assert process.communicate(timeout=300)[0] == b"ready\n"
    assert process.returncode == 0
    return shown.decode()


@pytest.mark.parametrize("run", ["call()", IN_THREAD], ids=["main thread", "other thread"])
def test_terminal_shows_progress_in_one_line_that_is_erased(run: str, tmp_path: Path) -> None:
    shown = compile_on_terminal(tmp_path / "cache", run)
    assert "\n" not in shown
    lines = shown.split("\r")
    assert any(line.startswith("compiling kernels [") and "functions" in line for line in lines)
    assert lines[-2:][0].strip() == lines[-1] == ""
    assert compile_on_terminal(tmp_path / "cache", run) == ""


def test_log_tells_once_outside_terminal(tmp_path: Path) -> None:
    told = compile_with_pipes(tmp_path / "cache")
    assert told.count("\n") == 1
    assert told.startswith("compiling kernels (remember, ")
    assert compile_with_pipes(tmp_path / "cache") == ""


def test_short_compilation_tells_nothing(tmp_path: Path) -> None:
    assert compile_with_pipes(tmp_path / "cache", patience=300.0) == ""


def test_log_level_turns_notice_off(tmp_path: Path) -> None:
    run = "compile_notice.logger.setLevel('ERROR'); call()"
    assert compile_with_pipes(tmp_path / "cache", run=run) == ""


def test_worker_tells_nothing_while_its_parent_shows_compilation(tmp_path: Path) -> None:
    shown = {"GENERALS_ENV_COMPILATION_SHOWN": "1"}
    assert compile_with_pipes(tmp_path / "cache", **shown) == ""


def test_process_started_during_compilation_knows_that_it_is_shown(tmp_path: Path) -> None:
    run = (
        "from numba.core import event; import os, subprocess; kinds = []\n"
        "    class Child(event.Listener):\n"
        "        def on_start(self, event): kinds.append(os.environ.get(compile_notice.SHOWN))\n"
        "        def on_end(self, event): pass\n"
        "    event.register('numba:compile', Child()); call()\n"
        "    assert set(kinds) == {'1'}, kinds\n"
        "    assert compile_notice.SHOWN not in os.environ"
    )
    compile_with_pipes(tmp_path / "cache", run=run)
