"""Runs the examples for seconds, each as a single file from another folder, and holds their form."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.helpers import PATIENCE
from support.paths import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

MAX_LINES = 200


def run_example(name: str, folder: Path, *others: str, **options: object) -> str:
    """Copy an example into a folder, run it there in Python with errors for warnings, and return what it prints."""
    shutil.copy(ROOT / "examples" / f"{name}.py", folder)
    given = [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-W", "error", f"{name}.py", *others, *given]
    done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short_single_files_with_a_dataclass(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") < MAX_LINES
    tree = ast.parse(text)
    own = {other.stem for other in EXAMPLES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not own & {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module not in own
            assert node.level == 0
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    assert any("dataclass" in ast.unparse(decorator) for decorator in classes["Arguments"].decorator_list)
    assert f"python examples/{path.name}" in (ast.get_docstring(tree) or "")


def test_every_example_is_run_by_a_test_and_is_in_the_docs() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    page = (ROOT / "docs" / "training.md").read_text()
    for path in EXAMPLES:
        assert re.search(rf'"{path.stem}(\.py)?"|^import {path.stem}$', tests, re.MULTILINE), path.name
        assert f"\n| `{path.name}" in page, path.name


def test_ppo_example_trains_saves_and_evaluates(tmp_path: Path) -> None:
    options = {"board": 5, "minutes": 0.02, "games": 10, "evaluation_games": 10, "curriculum": "none", "anchors": "random"}
    small = ["--set=games=16", "--set=steps=8", "--set=batch_size=32", "--set=channels=8", "--set=max_turns=40"]
    printed = run_example("train_ppo", tmp_path, *small, out="run", **options)
    assert "10 games, half of them from each seat" in printed
    assert (tmp_path / "run" / "agent.pt").exists()
    assert (tmp_path / "run" / "progress.csv").read_text().startswith("minutes,step,wins_random,games_random\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process at once")
def test_stopped_ppo_example_says_how_to_go_on(tmp_path: Path) -> None:
    small = ["--set=games=16", "--set=steps=8", "--set=channels=8", "--set=max_turns=20", "--evaluation-games=2", "--board=5"]
    command = [sys.executable, ROOT / "examples" / "train_ppo.py", *small, "--curriculum=none", "--out=run", "--threads=1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        assert any("samples: wins" in line for line in training.stdout), "it ended before its first evaluation"
        training.send_signal(signal.SIGTERM)
        assert "the same command goes on" in training.stdout.read()
    assert training.returncode == 130
    assert (tmp_path / "run" / "agent.pt").exists()


def test_stream_example_starts_three_processes_and_learns(tmp_path: Path) -> None:
    options = {"minutes": 0.01, "games": 60, "max_turns": 30, "batch_size": 16}
    printed = run_example("train_from_stream", tmp_path, out="run", address=f"127.0.0.1:{free_port()}", **options)
    assert "step 250: loss" in printed
    assert "60 games, half of them from each seat" in printed
    rows = list(csv.DictReader((tmp_path / "run" / "progress.csv").read_text().splitlines()))
    assert [float(row["step"]) for row in rows] == [250]
    from generals_env.recorders import load_policy

    assert load_policy(tmp_path / "run" / "trainer.pt").step == 250


def test_self_play_example_rates_its_selves_and_goes_on(tmp_path: Path) -> None:
    stages = [{"name": "near", "game": {"height": 5, "width": 5, "max_turns": 10}, "until": 0}, {"name": "board"}]
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    small = {"board": 6, "max_turns": 30, "games": 16, "steps": 8, "channels": 4, "rating_games": 4, "threads": 1, "out": "run"}
    options = {**small, "opponents": "random,self,pool", "anchors": "random,expander", "curriculum": "stages.json"}
    printed = run_example("self_play", tmp_path, minutes=0.01, rate_every=0.02, **options)
    assert "stage 1, 'board', follows 'near' after" in printed
    assert "Elo" in printed
    assert "won against expander" in printed
    rows = list(csv.DictReader((tmp_path / "run" / "ratings.csv").read_text().splitlines()))
    assert len({row["player"] for row in rows}) == len(rows) >= 1
    assert {"wins_random", "games_expander", "elo_low", "draws"} <= set(rows[0])
    log = list(csv.DictReader((tmp_path / "run" / "progress.csv").read_text().splitlines()))
    assert log[0]["stage"] == "0"
    run_example("self_play", tmp_path, minutes=float(log[-1]["minutes"]) + 0.01, rate_every=0.02, **options)
    again = list(csv.DictReader((tmp_path / "run" / "ratings.csv").read_text().splitlines()))
    assert again[: len(rows)] == rows
    assert int(again[-1]["samples"]) > int(rows[-1]["samples"])


def test_offline_example_learns_from_recorded_and_own_games(tmp_path: Path) -> None:
    options = {"board": 5, "max_turns": 60, "minutes": 0.1, "offline": 0.3, "recorded_turns": 90, "channels": 8, "blocks": 0}
    printed = run_example("train_dqn_from_dataset", tmp_path, out="run", games=20, batch_size=32, play_every=1, **options)
    assert "20 games, half of them from each seat" in printed
    rows = list(csv.DictReader((tmp_path / "run" / "progress.csv").read_text().splitlines()))
    assert float(rows[0]["games_expander"]) == 20
    from generals_env.recorders import load_policy, open_dataset

    assert load_policy(tmp_path / "run" / "model.pt").step >= 1
    recorded = sum(map(len, open_dataset(tmp_path / "run" / "games")))
    assert recorded == 3 * 30 * 64


def test_wrapper_example_records_what_a_learner_sees(tmp_path: Path) -> None:
    printed = run_example("custom_wrapper", tmp_path, out="run", num_envs=8, turns=80, steps=3)
    assert "1,280 experiences; states (22, 6, 6), wrappers" in printed
    assert "GuardedGeneral" in printed
    assert "step 3: loss" in printed
    from generals_env.recorders import ExperienceBatch, open_dataset

    batch = ExperienceBatch.concat(list(open_dataset(tmp_path / "run")))
    states = batch.states()
    first = batch.turn == 0
    generals = states[first][:, 11] > 0  # own_general
    assert (generals.sum((1, 2)) == 1).all()
    rows, columns = np.nonzero(generals.any(2))[1], np.nonzero(generals.any(1))[1]
    distance = np.abs(np.arange(6)[:, None] - rows[:, None, None]) + np.abs(np.arange(6) - columns[:, None, None])
    assert (states[first][:, -1] == distance).all()
    assert batch.reward.max() > 0.09  # the term
