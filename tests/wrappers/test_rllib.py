"""Tests training with RLlib, with the example, in a virtual environment that has RLlib's own Gymnasium."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.helpers import PATIENCE
from support.paths import ROOT, TESTS

from generals_env.recorders import open_dataset


def install(folder: Path) -> Path:
    """Return the interpreter of a new virtual environment: the libraries of this one, RLlib and its Gymnasium first."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=PATIENCE)
    windows = os.name == "nt"
    python = folder / ("Scripts/python.exe" if windows else "bin/python")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / ("Lib/site-packages" if windows else f"lib/{version}/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib"))
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--retries", "1", "ray[rllib]==2.60.0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install RLlib: {done.stderr.strip()[-300:]}")
    return python


def recorded(folder: Path) -> dict[str, int]:
    """Return how many experiences each recorder wrote."""
    counts: dict[str, int] = {}
    for batch in open_dataset(folder):
        run = str(batch.metadata["run"])
        counts[run] = counts.get(run, 0) + len(batch)
    return counts


@pytest.mark.index
def test_rllib_trains_with_masks_and_records(tmp_path: Path) -> None:
    python = install(tmp_path / "venv")
    with tempfile.TemporaryDirectory() as short:  # Ray writes there; paths of its sockets may have 107 bytes
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "examples"))),
            "RAY_USAGE_STATS_ENABLED": "0",
            "HOME": short,
        }
        command = [python, TESTS / "support" / "rllib_process.py", tmp_path, short]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads((tmp_path / "seen.json").read_text())
    assert seen["gymnasium"] == "1.2.2"
    assert seen["checked"] == 4
    assert [line["games"] for line in seen["lines"]] == [8, 8]  # all are cut off after 20 turns, or end before
    assert all(line["illegal"] == 0 for line in seen["lines"])

    several, single = seen["several"], seen["single"]
    assert sorted({agent for agent, *_ in several["ends"]}) == ["player_0", "player_1"]
    assert all(terminated != truncated for _, terminated, truncated in several["ends"])
    assert len(several["ends"]) == 8
    assert several["illegal"] == single["illegal"] == 0

    writers = recorded(tmp_path / "several")
    assert len(writers) == 4
    assert sum(writers.values()) == several["actions"]
    writers = recorded(tmp_path / "single")
    assert len(writers) == 2  # one an environment runner
    assert sum(writers.values()) == single["turns"] > 0
