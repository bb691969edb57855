"""Fixtures of all tests: a folder for compiled kernels, a browser, and the ground truth beside the checkout."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
from support.browser import browser, open_page
from support.ground_truth import CONFORMANCE, MISSING, SHARED, found
from support.paths import ROOT

__all__ = ["browser", "open_page"]  # for tests of pages

os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba_cache"))

# Tests start hundreds of processes: without kept bytecode each of them would compile the sources of the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The networks of tests are small: threads of torch would mostly wait for each other, and take the cores of other tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Let the garbage collector leave out what the collection of tests made: a million objects that stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of ground truth beside the checkout, or skip."""
    if not CONFORMANCE.is_dir():
        pytest.skip(MISSING)
    return SHARED


@pytest.fixture(params=[pytest.param(None, id="own"), *found("packs_1v1/*.json.gz")[:1]])
def pack(request: pytest.FixtureRequest) -> Path | None:
    """Return which duels to take, for ``duels.duels_of`` and its like: those of the repository, then a pack of people's."""
    return request.param
