"""Tests the first compilation of kernels: several processes at once, edited rules, and other versions of numba."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT

PLAY = """
import hashlib
import generals_env

env = generals_env.make_vec(4, height=10, width=10)
env.reset(seed=1)
policies = ("random", "expander")
env.step(env.act(policies))
env.play(200, policies)
batch = env.batch
played = (*batch.boards, *batch.sets, *batch.views, *batch.outcome)
print(hashlib.sha256(b"".join(array.tobytes() for array in played)).hexdigest())
"""

#: Fails if numba has imported what only compilation needs.
LOADED_ALONE = """
import sys
import numba

assert not numba.__version__.startswith("0.68.") or "numba.np.linalg" not in sys.modules
"""

#: Prints the armies of the generals after four turns.
WAIT = """
import generals_env

env = generals_env.make()
env.reset(seed=1)
for _ in range(8):
    env.step(3200)
boards = env.game.boards
print(boards.army[-1][boards.owner[-1] >= 0].tolist())
"""

#: A kernel, and a subroutine and a kernel that it calls.
KERNELS = """
from generals_env.engine.jit import kernel, subroutine


@subroutine
def grow(values):
    values[0] += 1


@kernel
def total(values):
    return values.sum()


@kernel
def grown(values):
    grow(values)
    return total(values)
"""

#: Prints a result, and for each function whether machine code was generated for it alone.
COMPILE = """
import numba

numba.__version__ = {version!r} or numba.__version__
import numpy as np
from generals_env.engine import probe

print(probe.grown(np.zeros(3, np.int64)))
for function in (probe.grow, probe.total, probe.grown):
    (done,) = function.overloads.values()
    print(int(bool(getattr(done.library, "_compiled_object", None))))
"""


def environment(cache: Path, package: Path = ROOT) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    # Python's own cached bytecode goes by seconds: tests edit faster than that.
    return kept | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}


def run(script: str, cache: Path, package: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cache.parent,
        env=environment(cache, package),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def copied(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "recorders", "wrappers")
    shutil.copytree(ROOT / "generals_env", folder / "generals_env", ignore=ignored)
    return folder


def kernels_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*.nbc"))


def test_processes_at_once_on_an_empty_cache_play_the_same_games(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    count = 2  # each compiles every kernel of the games
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PLAY],
            env=environment(cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    outputs = [process.communicate(timeout=900) for process in started]
    assert [process.returncode for process in started] == [0] * count, outputs
    assert len({output for output, _ in outputs}) == 1
    kept = kernels_in(cache)
    assert run(PLAY + LOADED_ALONE, cache) == outputs[0][0].strip()
    assert kernels_in(cache) == kept
    assert not list(cache.rglob("*.tmp"))


def test_edited_rule_is_played_without_deleting_anything(tmp_path: Path) -> None:
    cache, copy = tmp_path / "cache", copied(tmp_path / "copy")
    assert run(WAIT, cache, copy) == "[3, 3]"
    kept = kernels_in(cache)
    rules = copy / "generals_env" / "engine" / "rules" / "growth.py"
    written = rules.read_text()
    assert written.count("LAND_TURNS = 50") == 1
    rules.write_text(written.replace("LAND_TURNS = 50", "LAND_TURNS = 2"))
    assert run(WAIT, cache, copy) == "[5, 5]"
    assert len(kernels_in(cache)) == 2 * len(kept)
    rules.write_text(written)
    assert run(WAIT, cache, copy) == "[3, 3]"
    assert len(kernels_in(cache)) == 2 * len(kept)


def test_only_kernels_become_machine_code(tmp_path: Path) -> None:
    copy = copied(tmp_path / "copy")
    (copy / "generals_env" / "engine" / "probe.py").write_text(KERNELS)
    answer = run(COMPILE.format(version=""), tmp_path / "cache", copy)
    assert answer.split() == ["1", "0", "1", "1"]


def test_other_versions_of_numba_compile_in_their_own_way(tmp_path: Path) -> None:
    copy = copied(tmp_path / "copy")
    (copy / "generals_env" / "engine" / "probe.py").write_text(KERNELS)
    answer = run(COMPILE.format(version="0.99.0"), tmp_path / "cache", copy)
    assert answer.split() == ["1", "1", "1", "1"]
