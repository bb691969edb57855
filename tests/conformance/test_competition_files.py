"""Tests that games of the competition agree, alone and in batches, and that each changed number is found and named."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from support.traces import competition_game, save

from generals_env.conformance import check
from generals_env.conformance import competition_files as files


@pytest.fixture(scope="module")
def game() -> dict[str, Any]:
    return competition_game(seed=3)


def test_games_are_equal_alone_and_in_batches(tmp_path: Path) -> None:
    games = [competition_game(seed, turns) for seed, turns in ((5, 60), (1, 60), (2, 40))]
    assert {game["final"]["truncated"] for game in games} == {True, False}
    verdicts = check([save(tmp_path / "games.json.gz", games)])
    assert [(verdict.game, verdict.status, verdict.turns) for verdict in verdicts] == [
        (str(game["id"]), "equal", len(game["crc"])) for game in games
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("crc", 10), r"turn 11: crc: expected (\d+), got (\d+)"),
        (("crc", 19), r"turn 20: crc: expected \d+, got \d+; the sample of this turn gives this board, so only the checksum"),
        (("army", 4, 1), r"turn 5, player 1: army total: expected (\d+), got (\d+)"),
        (("land", 0, 0), r"turn 1, player 0: land: expected (\d+), got (\d+)"),
        (("samples", 0, "army", 6), r"turn 20, tile 6 \(row 1, column 1\): army: expected (\d+), got (\d+)"),
        (("samples", 0, "castle", 5), r"turn 20, tile 5 \(row 1, column 0\): castle: expected (1), got (0)"),
        (("samples", 0, "time"), r"turn 20: time of the sample: expected (21), got (20)"),
        (("final", "winner"), r"turn \d+: final: winner: expected (-?\d), got (-?\d)"),
        (("final", "time"), r"turn \d+: final: time: expected (\d+), got (\d+)"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_changed_number_of_competition_game_is_named(tmp_path: Path, game: dict[str, Any], path: Any, message: str) -> None:
    wrong = copy.deepcopy(game)
    inner: Any = wrong
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] += 1
    good, bad = check([save(tmp_path / "games.json.gz", [game, wrong])])
    assert (good.status, bad.status) == ("equal", "differs")
    assert re.match(message, str(bad.difference)), str(bad.difference)


def test_games_that_differ_only_in_a_batch_are_found(
    tmp_path: Path, game: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = files.batch_views

    def defective(traces: Any) -> Any:
        for turn, views in enumerate(original(traces)):
            if turn == 6:
                views[1].army[3] += 1
            yield views

    monkeypatch.setattr(files, "batch_views", defective)
    path = save(tmp_path / "games.json.gz", [game, game])
    good, bad = check([path])
    assert good.status == "equal"
    assert str(bad.difference).endswith("played in a batch")
    assert bad.difference is not None
    assert bad.difference.turn == 7
    assert [verdict.status for verdict in check([path], batches=False)] == ["equal", "equal"]
