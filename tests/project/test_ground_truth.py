"""What tests do where the ground truth is not beside the checkout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import ground_truth
from support.duels import duels_of, whole_of
from support.paths import TESTS


def test_parameters_without_ground_truth_skip_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_truth, "CONFORMANCE", tmp_path)
    (parameter,) = ground_truth.found("replays/*.json.gz")
    (mark,) = parameter.marks
    assert mark.name == "skip"
    assert "is not there: the ground truth is not part of the repository" in mark.kwargs["reason"]


def test_only_one_file_says_where_the_ground_truth_lies() -> None:
    """Or a test could fall back on other data in silence."""
    places = re.compile(r"""["']shared["']|["']conformance["']""")
    assert [path.name for path in sorted(TESTS.rglob("*.py")) if places.search(path.read_text())] == ["ground_truth.py"]


def test_own_duels_make_one_batch() -> None:
    assert {batch.players for batch in duels_of(None)} == {2}
    assert len(whole_of(None).game_ids) == 7
