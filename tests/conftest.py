"""What all tests share: a folder for compiled kernels, and the ground truth beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba_cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of ground truth beside the checkout, or skip."""
    folder = ROOT.parent / "shared"
    if not (folder / "conformance").is_dir():
        pytest.skip(f"{folder} is not there: the ground truth is not part of the repository")
    return folder
