"""Finds the ground truth outside of the repository; tests without it skip with the reason.

Tests get it from the fixture ``shared``, or as parameters from ``found``. No other code looks beside the checkout, and no
test silently uses other data instead: behaviour that must hold everywhere is tested with data of the repository.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from support.paths import ROOT

SHARED = ROOT.parent / "shared"
CONFORMANCE = SHARED / "conformance"

#: Why tests skip where there is none.
MISSING = f"{CONFORMANCE} is not there: the ground truth is not part of the repository"


def load(path: Path) -> Any:
    """Return the contents of a packed JSON file."""
    return json.loads(gzip.decompress(path.read_bytes()))


def found(pattern: str) -> list[Any]:
    """Return the files of the ground truth as test parameters; one that skips where there are none."""
    files = sorted(CONFORMANCE.glob(pattern))
    skipped = pytest.param(None, id=pattern, marks=pytest.mark.skip(reason=MISSING))
    return [pytest.param(file, id=file.name) for file in files] or [skipped]
