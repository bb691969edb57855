"""Tests that other engines are judged by the same protocol, and that a defect is found with its turn and tile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import judged_engines as engines
from support.traces import GAME, competition_game, fog_of_replay, replay_fields, save, trace_of_replay

from generals_env.conformance import check
from generals_env.conformance.engines import load_engine
from generals_env.errors import ConfigError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a replay, its trace and its fog file."""
    folder = tmp_path_factory.mktemp("game")
    fields = replay_fields()
    save(folder / "replays" / f"{GAME}.json.gz", fields)
    save(folder / "traces" / f"{GAME}.events.json.gz", trace_of_replay(fields))
    save(folder / "fog" / f"{GAME}.json.gz", fog_of_replay(fields))
    return folder


def test_engine_without_defect_is_equal(folder: Path) -> None:
    verdicts = check([folder], engines.PlainReplayEngine)
    assert [(verdict.form, verdict.status, verdict.not_judged) for verdict in verdicts] == [
        ("fog", "equal", ()),
        ("trace", "equal", ()),
    ]


def test_defect_of_engine_is_named_with_turn_and_tile(folder: Path) -> None:
    verdicts = check([folder / "traces"], engines.ForgetfulReplayEngine)
    (difference,) = (verdict.difference for verdict in verdicts)
    assert difference is not None
    assert (difference.turn, difference.what) == (100, "army")
    assert difference.expected == difference.got + 1
    assert difference.note == "from the changes (delta) of the trace"


def test_defect_is_named_where_a_trace_has_checksums_only(tmp_path: Path) -> None:
    fields = replay_fields()
    trace = trace_of_replay(fields)
    expect = {"turns": 221, "state_sha256": trace["state_sha256"], "crc32_every_25": trace["crc32"][::25]}
    case = save(tmp_path / "pack.json.gz", [{"replay": fields, "expect": expect}])
    (verdict,) = check([case], engines.ForgetfulReplayEngine)
    assert verdict.difference is not None
    assert (verdict.difference.turn, verdict.difference.what) == (100, "army")
    assert verdict.difference.note == "expected by this package's engine"
    (verdict,) = check([case], engines.PlainReplayEngine)
    assert verdict.status == "equal"


def test_replay_without_trace_is_compared_with_this_package(tmp_path: Path) -> None:
    game = save(tmp_path / "game.json.gz", replay_fields())
    (verdict,) = check([game], engines.PlainReplayEngine)
    assert (verdict.status, verdict.turns) == ("equal", 221)
    assert verdict.reason == "compared with this package's engine, as it has no trace"
    (verdict,) = check([game], engines.ForgetfulReplayEngine)
    assert str(verdict.difference).startswith("turn 100, tile")


def test_parts_that_an_engine_does_not_tell_are_not_judged(folder: Path) -> None:
    verdicts = check([folder], engines.BareReplayEngine)
    assert [(verdict.form, verdict.status, verdict.not_judged) for verdict in verdicts] == [
        ("fog", "equal", ("visible",)),
        ("trace", "equal", ("alive", "alive at the end", "cities", "deaths", "generals", "over")),
    ]


def test_engines_that_fail_differ_with_the_reason(folder: Path) -> None:
    (verdict,) = check([folder / "traces"], engines.FailingEngine)
    assert (verdict.status, verdict.reason) == ("differs", "step 10 raised KeyError('tile')")
    (verdict,) = check([folder / "traces"], engines.WrongShapeEngine)
    assert verdict.status == "differs"
    assert verdict.reason.startswith("army: expected ")


def test_engines_of_the_competition_are_judged(tmp_path: Path) -> None:
    file = save(tmp_path / "games.json.gz", [competition_game(seed) for seed in range(3)])
    assert {verdict.status for verdict in check([file], engines.PlainCompetitionEngine)} == {"equal"}
    found = [verdict for verdict in check([file], engines.CheapCompetitionEngine) if verdict.status == "differs"]
    assert found
    assert all(verdict.difference is not None and verdict.difference.tile is not None for verdict in found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("engine", "expected module:callable, got 'engine'"),
        ("no_such_module:Engine", "expected module:callable that can be imported"),
        ("support.judged_engines:Missing", "has no attribute 'Missing'"),
        ("support.judged_engines:__doc__", "expected a callable"),
    ],
)
def test_names_that_are_no_engine_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_engine(name)
    found: Any = load_engine("support.judged_engines:PlainReplayEngine")
    assert found is engines.PlainReplayEngine
