"""Tests the second process that compiles kernels of the first game."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
needs_cores = pytest.mark.skipif(CORES < 2, reason="a second process is started on two cores or more")

#: Plays a turn, and prints the kernels that this process compiled and the result.
PLAY = """
import generals_env
from numba.core import event
from generals_env.engine.kernel_cache.numba_hook import second_process

class Kernels(event.Listener):
    depth, names = 0, []
    def on_start(self, event):
        if self.depth == 0:
            self.names.append(event.data["dispatcher"].py_func.__name__)
        self.depth += 1
        began(self.names)
    def on_end(self, event):
        self.depth -= 1

def began(names):
    BEGAN

event.register("numba:compile", Kernels())
env = generals_env.make()
env.reset(seed=1)
env.step(3200)
env.step(3200)
print(sorted(Kernels.names), int(env.state().sum()))
"""


def played(folder: Path, began: str = "pass", code: str = PLAY) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder)}
    command = [sys.executable, "-c", code.replace("BEGAN", began)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def locks(folder: Path) -> list[Path]:
    return list(folder.rglob("second-process.tmp"))


@needs_cores
def test_second_process_compiles_what_follows_the_map(tmp_path: Path) -> None:
    first = played(tmp_path)
    names, result = first.rsplit("]", 1)
    assert names == "['generate_map'"
    assert not locks(tmp_path)
    assert played(tmp_path) == f"[]{result}"


@needs_cores
def test_killed_second_process_is_made_up_for(tmp_path: Path) -> None:
    assert played(tmp_path, "second_process._process and second_process._process.kill()").startswith(
        "['generate_map', 'play_turn'"
    )
    assert not locks(tmp_path)


@needs_cores
def test_process_that_finds_a_lock_compiles_alone(tmp_path: Path) -> None:
    folder = Path(
        played(
            tmp_path, code="from generals_env.engine.kernel_cache.numba_hook import cache_files; print(cache_files().folder)"
        )
    )
    (folder / "second-process.tmp").touch()
    assert played(tmp_path, "assert second_process._process is None").startswith("['generate_map', 'play_turn'")
    assert len(locks(tmp_path)) == 1


@needs_cores
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_second_process_ends_with_its_parent(tmp_path: Path) -> None:
    began = (
        "import os, signal; child = second_process._process; print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PLAY.replace("BEGAN", began)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
    # It may be in the middle of a call of LLVM, which holds the interpreter's lock for seconds.
    for _ in range(6000):
        if not is_running(child):
            return
        time.sleep(0.01)
    pytest.fail(f"process {child}: expected its end after that of its parent")


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"
