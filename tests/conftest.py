"""What all tests share: a cache of compiled kernels that edits cannot make stale, and the ground truth beside the checkout."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def kernel_sources_hash() -> str:
    """Return a hash of all that is compiled: numba does not notice an edited callee in another file."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "generals_env" / "engine").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".numba_cache" / kernel_sources_hash()))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of ground truth beside the checkout, or skip."""
    folder = ROOT.parent / "shared"
    if not (folder / "conformance").is_dir():
        pytest.skip(f"{folder} is not there: the ground truth is not part of the repository")
    return folder
