"""Tests the kernels without compilation and with bounds checks."""

from __future__ import annotations

import os
import subprocess
import sys

from support.paths import ROOT

CONFORMANCE_TEST = "tests/engine/test_conformance.py"
PACKS = "test_packs_of_duels_agree_at_every_turn"

#: Tests that run again: real games, maps, environments, recordings; small enough for the interpreter.
CHOICE = [
    CONFORMANCE_TEST,
    "tests/support/small_games.py",
    "-k",
    "duel or teams or torus or small",
    "-p",
    "no:xdist",
    "-q",
]


def run_again(*options: str, **environment: str) -> None:
    environment = {**os.environ, **environment}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        # Interpreted 64-bit arithmetic warns where compiled code wraps, as random generators do on purpose.
        [sys.executable, "-m", "pytest", *CHOICE, *options, "-W", "ignore:overflow encountered:RuntimeWarning"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "passed" in done.stdout


def test_uncompiled_kernels_play_same_games() -> None:
    # One pack of 40 whole games of people: the interpreter takes 6 s for each of them, compiled code takes one.
    others = [f"--deselect={CONFORMANCE_TEST}::{PACKS}[pack_{number:02d}.json.gz]" for number in range(1, 4)]
    run_again(*others, NUMBA_DISABLE_JIT="1")


def test_kernels_stay_within_array_bounds() -> None:
    run_again(NUMBA_BOUNDSCHECK="1")
