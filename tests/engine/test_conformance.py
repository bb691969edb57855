"""Tests every turn of games of people and of the official code: ground truth that this package did not write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ground_truth import CONFORMANCE, found
from support.paths import DATA

from generals_env import replay
from generals_env.conformance import check
from generals_env.conformance.expectations import Expected, Final
from generals_env.conformance.replay_engines import own_views
from generals_env.conformance.replay_judge import judge_replay


@pytest.mark.parametrize("file", found("replays/*.json.gz"))
def test_real_games_agree_at_every_turn(file: Path) -> None:
    game = file.name.partition(".")[0]
    traces = [CONFORMANCE / "traces" / f"{game}.events.json.gz", CONFORMANCE / "fog" / f"{game}.json.gz"]
    verdicts = check([file])  # with the files beside it
    assert [verdict.file for verdict in verdicts] == [str(path) for path in traces if path.exists()]
    assert [(verdict.status, verdict.difference, verdict.not_judged) for verdict in verdicts] == [("equal", None, ())] * len(
        verdicts
    )


@pytest.mark.parametrize("file", found("packs_1v1/*.json.gz"))
def test_packs_of_duels_agree_at_every_turn(file: Path) -> None:
    verdicts = check([file])
    assert len(verdicts) == 40
    assert [verdict for verdict in verdicts if verdict.status != "equal" or verdict.not_judged] == []


@pytest.mark.parametrize("file", found("synthetic/*.json.gz"))
def test_rare_rules_agree_at_every_turn(file: Path) -> None:
    verdicts = check([file])
    assert len(verdicts) >= 50
    assert [verdict for verdict in verdicts if verdict.status != "equal" or verdict.not_judged] == []


@pytest.mark.parametrize("file", found("gior/*.gior"))
def test_binary_format_equals_json(file: Path) -> None:
    binary, plain = replay.read(file), replay.read(CONFORMANCE / "replays" / f"{file.stem}.json.gz")
    np.testing.assert_array_equal(binary.moves, plain.moves)
    np.testing.assert_array_equal(binary.events, plain.events)
    assert {(verdict.status, verdict.game) for verdict in check([file])} == {("equal", file.stem)}


@pytest.mark.parametrize("case", json.loads((DATA / "expected.json").read_text()), ids=lambda case: case["file"])
def test_games_in_repository_agree_at_every_turn(case: dict[str, Any]) -> None:
    # Public games: checksums from the official rules core. Games of this package: checksums from when they were made.
    game = replay.read(DATA / case["file"])
    expected = Expected(case["turns"], digest=case["state_sha256"], final=Final(alive=case["alive"]))
    assert judge_replay(game, expected, own_views(game)) == (case["turns"], None, ())
