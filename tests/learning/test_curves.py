"""Tests the learning curves: bands of one run and of several seeds, the picture, and the CSV file that they are read from."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from generals_env.errors import ConfigError, StorageError
from generals_env.learning.curves import WinCurve, band_of, draw_curve, read_curve, wilson


def curve(wins: dict[str, list[float]], games: float | dict[str, list[float]] = 200.0) -> WinCurve:
    """Return a curve with a point a minute."""
    counts = games if isinstance(games, dict) else {name: [games] * len(line) for name, line in wins.items()}
    places = np.arange(1.0, 1 + len(next(iter(wins.values()))))
    return WinCurve(places, *({name: np.array(line) for name, line in table.items()} for table in (wins, counts)))


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        assert picture.size == (1600, 900)
        return np.asarray(picture.convert("RGB"))


def test_curve_is_drawn_from_the_first_share_of_enough_games(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pictures = []
    for first in (1.0, 0.0):  # the share of one game makes no difference
        wins = {"random": [first, 0.5, 0.6, 0.7], "expander": [0.0] * 4}
        one = curve(wins, {"random": [1.0, 50, 50, 200], "expander": [1.0, 1, 1, 1]})
        assert draw_curve(one, tmp_path / "deep" / "curve.png", title="Wins", xlabel="minutes")
        pictures.append(pixels(tmp_path / "deep" / "curve.png"))
    assert (pictures[0] == pictures[1]).all()
    line = (pictures[0] == (43, 108, 176)).all(-1)
    assert line.any()  # the line against random
    assert not (pictures[0] == (31, 122, 77)).all(-1).any()  # none against expander: its shares are of one game
    columns = np.flatnonzero(line[:, :1200].any(0))  # left of the legend
    rows = [np.flatnonzero(line[:, column]).mean() for column in (columns[0], columns[-1])]
    assert rows[1] < rows[0]  # it rises


def test_curve_of_several_runs_is_their_mean_within_their_range(tmp_path: Path) -> None:
    runs = [curve({"random": [0.0, 0.2, 0.4]}), curve({"random": [0.4, 0.6, 0.8]}), curve({"random": [0.2, 0.4, 0.9]})]
    places, line, low, high = band_of(runs, "random")
    assert (places[0], places[-1]) == (1, 3)
    assert (line[0], low[0], high[0]) == pytest.approx((0.2, 0, 0.4))
    assert (line[-1], low[-1], high[-1]) == pytest.approx((0.7, 0.4, 0.9))
    middle = np.abs(places - 2).argmin()
    assert (line[middle], low[middle], high[middle]) == pytest.approx((0.4, 0.2, 0.6), abs=0.005)
    # A run that ended earlier ends the line: its last share would stand for what was not measured.
    assert band_of([*runs, curve({"random": [0.1, 0.1]})], "random")[0][-1] == 2
    pytest.importorskip("matplotlib")
    assert draw_curve(runs, tmp_path / "runs.png", title="Wins", xlabel="minutes")
    assert draw_curve(runs[:1], tmp_path / "run.png", title="Wins", xlabel="minutes")
    several, one = pixels(tmp_path / "runs.png"), pixels(tmp_path / "run.png")

    def tinted(picture: npt.NDArray[np.uint8]) -> int:  # of the band: a light blue
        return int(((picture[..., 2].astype(int) - picture[..., 0]) > 15).sum())

    assert tinted(several) > 1.5 * tinted(one) > 1000


def test_curve_is_not_drawn_of_few_games(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for few in (curve({"random": [0.1, 0.2, 0.3]}, 49.0), curve({"random": [0.1]})):
        assert not draw_curve(few, tmp_path / "curve.png", title="Wins", xlabel="minutes")
    assert not (tmp_path / "curve.png").exists()
    with pytest.raises(ConfigError, match="curves: expected one or more"):
        draw_curve([], tmp_path / "curve.png", title="Wins", xlabel="minutes")
    enough = curve({"random": [0.1, 0.2, 0.3]})
    with pytest.raises(StorageError, match="picture: expected a PNG or SVG file"):
        draw_curve(enough, tmp_path / "curve.txt", title="Wins", xlabel="minutes")


def test_missing_matplotlib_gives_one_line_install_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"draw_curve: expected matplotlib, got .*: pip install matplotlib"):
        draw_curve(curve({"random": [0.1, 0.2]}), tmp_path / "curve.png", title="Wins", xlabel="minutes")


def test_curve_is_read_from_a_table_and_a_wrong_table_refused(tmp_path: Path) -> None:
    table = tmp_path / "progress.csv"
    table.write_text("minutes,step,wins_random,games_random\n0.5,10,0.25,200\n1.0,20,0.75,100\n")
    found = read_curve(table)
    assert found.xs.tolist() == [0.5, 1.0]
    assert found.wins["random"].tolist() == [0.25, 0.75]
    assert found.games["random"].tolist() == [200, 100]
    assert read_curve(table, "step").xs.tolist() == [10, 20]
    for text in ("minutes,wins_random\n1,0.5\n", "minutes,wins_random,games_random\n1,0.5\n", "a,wins_b,games_b\n1,2,3\n"):
        table.write_text(text)
        with pytest.raises(StorageError, match="table: expected a CSV file with the columns minutes"):
            read_curve(table)
    with pytest.raises(StorageError, match="table: expected a CSV file"):
        read_curve(tmp_path / "none.csv")


def test_bands_of_shares_are_those_of_wilson() -> None:
    low, high = wilson(np.array([0.0, 0.5, 1.0]), np.array([10.0, 100.0, 10.0]))
    assert low == pytest.approx([0, 0.4038, 0.7225], abs=1e-4)
    assert high == pytest.approx([0.2775, 0.5962, 1], abs=1e-4)
