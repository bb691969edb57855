"""Tests ``generals-env warm``: what users run compiles nothing afterwards, on this machine or with kernels that are shipped."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import runner

from generals_env.cli.app import app
from generals_env.cli.warm import Worker
from generals_env.cli.warm_groups import GROUPS
from generals_env.errors import GeneralsError

X86 = platform.machine().lower() in ("x86_64", "amd64")

#: Runs code, and prints the names of the kernels that are compiled.
WATCH = """
from numba.core import event

class Watch(event.Listener):
    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        if function.__module__.startswith("generals_env."):
            print("compiled", function.__name__)

    def on_end(self, event):
        pass

event.register("numba:compile", Watch())
"""

SINGLE = """
import generals_env
env = generals_env.make()
env.reset(seed=1)
for _ in range(4):
    env.step(3200)
"""

#: What the documentation shows of each group.
USED = (
    SINGLE
    + """
import numpy as np
from generals_env.recorders import DatasetWriter, ExperienceRecorder, PrioritizedReplayBuffer, ReplayBuffer, open_dataset
from generals_env.wrappers import FogMemory, FrameStack, Opponent, PotentialShaping, RandomSymmetry

games = PotentialShaping(generals_env.make_vec(4, observation="full"), gamma=0.99, land=0.5)
games = RandomSymmetry(FrameStack(FogMemory(games), frames=2))
games.reset(seed=1)
games.step(games.action_space.sample())
buffer = ReplayBuffer(1000, seed=1)
for sink in ("runs/a", DatasetWriter("runs/b", "games"), buffer, ReplayBuffer(1000, store="games")):
    with ExperienceRecorder(generals_env.make_vec(4), sink) as env:
        env.reset(seed=1)
        env.step(env.act(("expander", "random")))
        env.play(10, ("expander", "random"))
buffer.sample(16, n_step=3, gamma=0.99).tensors()
buffer.sample(16, augment=True).states(layout="full")
for folder in ("runs/a", "runs/b"):
    for batch in open_dataset(folder).shuffled(100, seed=1).batches(16):
        batch.states(), batch.next_action_masks()
prioritized = PrioritizedReplayBuffer(1000, seed=1)
prioritized.write(batch)
batch, keys, weights = prioritized.sample(8, beta=0.4)
prioritized.update_priorities(keys, weights)
games = generals_env.make_vec(4, observation="full")
views, _ = games.reset(seed=1)
games.play(3, ("hunter", "expander"))
Opponent("hunter", 1)({name: array[0, 0] for name, array in views.items()})
"""
)


def warm(*arguments: object, **changes: str) -> str:
    """Run the command in a new process, and return what it prints."""
    command = [sys.executable, "-m", "generals_env.cli", "warm", *map(str, arguments)]
    environment = os.environ | changes
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done.stdout


def compiled(code: str, folder: Path, **changes: str) -> str:
    """Return the kernels that a new process compiles while it runs code."""
    command = [sys.executable, "-c", WATCH + code]
    environment = os.environ | changes
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_nothing_is_compiled_after_warm(tmp_path: Path) -> None:
    warm()  # in the folder that all tests share, which has most kernels
    assert compiled(USED, tmp_path) == ""
    assert warm().startswith("compiled 0 kernels in ")


def test_shipped_kernels_start_elsewhere_at_once(tmp_path: Path) -> None:
    out = tmp_path / "image" / "kernels"
    level = ("--cpu", "x86-64-v2") if X86 else ()
    printed = warm("single", "--out", out, *level, NUMBA_CACHE_DIR=str(tmp_path / "builder"))
    assert str(out) in printed
    assert not (tmp_path / "builder").exists()
    assert warm("single", "--out", out, *level).startswith("compiled 0 kernels in ")
    shipped = {"GENERALS_ENV_KERNELS": str(out), "NUMBA_CACHE_DIR": str(tmp_path / "elsewhere")}
    assert compiled(SINGLE, tmp_path, **shipped) == ""
    assert not list((tmp_path / "elsewhere").rglob("*.nbc"))


def test_second_process_of_the_demo_compiles_what_it_writes() -> None:
    result = Worker("written games", dict(os.environ)).result()
    assert list(Path(result["folder"]).glob("classify_board_origins-*.nbc"))


def test_failed_group_is_named() -> None:
    with pytest.raises(GeneralsError, match="expected the group nosuch to compile, got KeyError"):
        Worker("nosuch", dict(os.environ)).result()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nosuch"], "got 'nosuch'"),
        (["single", "--cpu", "generic"], "expected --out beside it"),
        (["single", "--out", "used"], "with other files"),
        (["single", "--out", "new", "--cpu", "pdp-11"], "got 'pdp-11'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("used").mkdir()
    Path("used", "notes.txt").write_text("mine")
    result = runner.invoke(app, ["warm", *arguments])
    assert result.exit_code != 0
    assert told in " ".join(f"{result.output} {result.exception}".replace("│", "").split())
    assert Path("used", "notes.txt").read_text() == "mine"
    assert not Path("new").exists()


def test_help_names_all_groups() -> None:
    output = runner.invoke(app, ["warm", "--help"]).output
    assert all(group in output for group in GROUPS)
