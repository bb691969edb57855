"""Tests the learning curve that the examples draw."""

from __future__ import annotations

from pathlib import Path

import curve
import numpy as np
import pytest
from PIL import Image


def test_curve_is_drawn_from_the_first_share_of_enough_games(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    games = {"random": [1.0, 40, 50, 200], "expander": [1.0, 1, 1, 1]}
    wins = {"random": [1.0, 0.5, 0.6, 0.7], "expander": [0.0] * 4}
    pictures = []
    for first in (1.0, 0.0):  # the share of one game makes no difference
        wins["random"][0] = first
        assert curve.draw_curve([1, 2, 3, 4], wins, games, "Wins", "minutes", tmp_path / "curve.png")
        with Image.open(tmp_path / "curve.png") as picture:
            assert picture.size == (1600, 900)
            pictures.append(np.asarray(picture.convert("RGB")))
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] == (43, 108, 176)).all(-1).any()  # the line against random


def test_curve_is_not_drawn_of_few_games_or_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = {"random": [49.0] * 3}, {"random": [50.0] * 3}
    wins = {"random": [0.1, 0.2, 0.3]}
    assert not curve.draw_curve([1, 2, 3], wins, few, "Wins", "minutes", tmp_path / "curve.png")
    monkeypatch.setattr(curve, "Figure", None)
    assert not curve.draw_curve([1, 2, 3], wins, many, "Wins", "minutes", tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_bands_of_shares_are_those_of_wilson() -> None:
    low, high = curve.wilson(np.array([0.0, 0.5, 1.0]), np.array([10.0, 100.0, 10.0]))
    assert low == pytest.approx([0, 0.4038, 0.7225], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.5962, 1], abs=1e-4)
