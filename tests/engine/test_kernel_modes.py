"""The kernels agree with themselves uncompiled, and stay within their arrays."""

from __future__ import annotations

import os
import subprocess
import sys

from support.paths import ROOT

#: What is run again: real games, maps, environments, recordings; small enough to be played by the interpreter.
CHOICE = [
    "tests/engine/test_conformance.py",
    "tests/support/small_games.py",
    "-k",
    "duel or teams or torus or small",
    "-p",
    "no:xdist",
    "-q",
]


def run_again(**environment: str) -> None:
    environment = {**os.environ, **environment}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        # Interpreted 64-bit arithmetic warns where the compiled one wraps: that is what a generator of random bits is for.
        [sys.executable, "-m", "pytest", *CHOICE, "-W", "ignore:overflow encountered:RuntimeWarning"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "passed" in done.stdout


def test_uncompiled_kernels_play_the_same_games() -> None:
    run_again(NUMBA_DISABLE_JIT="1")


def test_kernels_stay_within_their_arrays() -> None:
    run_again(NUMBA_BOUNDSCHECK="1")
