"""Tests what benchmarks that compare builds share: workers that answer in turn, missing builds and peers, ratios of pairs."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from support.helpers import PATIENCE
from support.paths import ROOT

import generals_env
from benchmarks.builds import Build, Worker, builds
from benchmarks.first_use import started
from benchmarks.generals_bots import checkout_version
from benchmarks.pairs import Figures, cell, in_turn, keep, ratios
from benchmarks.peers import PeerMissing

PYTHON = Path(sys.executable)
FOLDER = Path(generals_env.__file__).parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_benchmark_lists_its_areas() -> None:
    areas = "env, engine, first_use, turns, generals_bots, buffers, storage, stream, metrics, replay, latency, capacity, scale"
    areas += ", viewer, rendering, match, ray, inference, redis, export, learning"
    assert areas in " ".join(run("--help").stdout.split())
    assert run().returncode == 2
    assert "invalid choice: 'engines'" in run("engines").stderr


def test_benchmark_worker_answers_until_it_fails() -> None:
    with Worker(PYTHON, FOLDER, "turns.py", 2, 8) as worker:
        for question in (("play", "random"), ("turn_by_turn", 2), ("step", 2), ("one_thread", 2), ("copies",)):
            assert min(worker.ask(*question).values()) > 0
        batch = generals_env.make_vec(2, height=8, width=8).batch
        known = (*batch.boards, *batch.views, *batch.outcome)
        (held,) = worker.ask("memory").values()
        assert sum(array.nbytes for array in known) / 2 < held < sum(array.nbytes for array in known)
        with pytest.raises(
            RuntimeError, match=r"turns.py: expected an answer to 'dance', but it ended\n(.*\n)*KeyError: 'dance'"
        ):
            worker.ask("dance")


def test_benchmark_worker_makes_tensors_for_learners() -> None:
    pytest.importorskip("torch")
    with Worker(PYTHON, FOLDER, "turns.py", 2, 8) as worker:
        assert min(worker.ask("learn", 2).values()) > 0


def test_first_use_names_the_package_it_measured(tmp_path: Path) -> None:
    cache = Path(os.environ["NUMBA_CACHE_DIR"])
    seconds, cpu_seconds = started(Build("now", FOLDER, PYTHON), "make", cache)
    assert seconds > 0
    assert cpu_seconds > 0 or os.name == "nt"
    with pytest.raises(RuntimeError, match=r"expected the package in .*, got "):
        started(Build("other", tmp_path, PYTHON), "make", cache)


def test_builds_that_cannot_be_measured_are_left_out_with_a_reason(tmp_path: Path) -> None:
    for before, reason in ((None, "expected --before PATH"), (tmp_path, "__init__.py in the checkout of --before, found none")):
        console = Console(file=io.StringIO(), width=500)
        assert [build.name for build in builds(before, console)] == ["now"]
        assert reason in console.file.getvalue()  # type: ignore[attr-defined]
    (tmp_path / "generals_env").mkdir()
    (tmp_path / "generals_env" / "__init__.py").touch()
    python = tmp_path / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python.parent.mkdir(parents=True)
    python.touch()
    assert [build.python for build in builds(tmp_path, Console(file=io.StringIO()))] == [python, PYTHON]


def test_peer_without_a_checkout_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PeerMissing, match="expected --peer PATH"):
        checkout_version(None)
    with pytest.raises(PeerMissing, match="expected a checkout of generals-bots in"):
        checkout_version(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "2.6.0"\n')
    assert checkout_version(tmp_path).startswith("2.6.0 (")


def test_ratios_are_those_of_each_round() -> None:
    figures: Figures = {}
    for before, now in ((100.0, 150.0), (10.0, 20.0), (1000.0, 2500.0)):
        keep(figures, "play", "before", before)
        keep(figures, "play", "now", now)
    columns = figures["play"]
    assert cell(columns["before"]) == "100 (10 - 1,000)"
    assert ratios(columns["now"], columns["before"]) == "2.00 (1.50 - 2.50)"
    assert (ratios(columns["now"], []), cell([])) == ("-", "-")


def test_rounds_alternate_the_order() -> None:
    assert [in_turn(["before", "now"], number)[0] for number in range(4)] == ["before", "now", "before", "now"]


#: What the output of each command of the section "Profile" must hold: a line of the profile, or a name of the package.
PROFILES = {
    "latency": r"\d+ +\d+\.\d+ .*expand\.py:\d+\(expand_views\)",
    "-s tottime -m generals_env.cli": r"\d+ +\d+\.\d+ .*batch_kernel\.py:\d+\(run_boards\)",
    "-o runs/run.prof": "experiences per second",
    "pstats": r"recorders/\S+\.py:\d+\(write\)",
}


@pytest.mark.checklist("M11", "L10")
@pytest.mark.skipif(os.name == "nt", reason="the commands are those of a shell of Linux and macOS")
def test_profile_commands_of_the_docs_run(tmp_path: Path) -> None:
    section = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").partition("\n## Profile\n")[2].partition("\n## ")[0]
    commands = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    assert len(commands) == len(PROFILES)
    for command, (part, expected) in zip(commands, PROFILES.items(), strict=True):
        assert part in command
        name, *arguments = shlex.split(command)
        assert name == "python"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert re.search(expected, done.stdout), f"{command}\n{done.stdout}"
