"""Where the ground truth lies that is no part of the repository, and what tests do without it: they skip, with the reason.

A test asks for it by the fixture ``shared``, or by parameters from ``found``. Nothing else looks beside the checkout, and no
test falls back on other data in silence: what must hold everywhere is tested with data of the repository, always.
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
    """Return what a packed file of JSON holds."""
    return json.loads(gzip.decompress(path.read_bytes()))


def found(pattern: str) -> list[Any]:
    """Return the files of the ground truth as test parameters; one that skips where there are none."""
    files = sorted(CONFORMANCE.glob(pattern))
    skipped = pytest.param(None, id=pattern, marks=pytest.mark.skip(reason=MISSING))
    return [pytest.param(file, id=file.name) for file in files] or [skipped]
