"""Tests that traces of replays agree, and that each changed number in them is found and named."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.traces import GAME, fog_of_replay, replay_fields, save, trace_of_replay

from generals_env.conformance import Verdict, check


@pytest.fixture(scope="module")
def trace() -> dict[str, Any]:
    return trace_of_replay(replay_fields())


@pytest.fixture(scope="module")
def fog() -> dict[str, Any]:
    return fog_of_replay(replay_fields())


def judged(folder: Path, **files: Any) -> list[Verdict]:
    """Return the verdicts on a replay and a trace or fog file in the usual folders."""
    save(folder / "replays" / f"{GAME}.json.gz", replay_fields())
    for kind, content in files.items():
        save(folder / kind / f"{GAME}{'.events' if kind == 'traces' else ''}.json.gz", content)
    return check([folder])


def changed(content: dict[str, Any], change: Callable[[Any], None]) -> dict[str, Any]:
    """Return a copy with one change."""
    other = copy.deepcopy(content)
    change(other)
    return other


def add(*path: Any) -> Callable[[Any], None]:
    """Return a change that adds 1 to a number (or negates a truth value) at a path into a trace."""

    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        old = content[path[-1]]
        content[path[-1]] = not old if isinstance(old, bool) else old + 1

    return change


def test_unchanged_traces_are_equal(tmp_path: Path, trace: dict[str, Any], fog: dict[str, Any]) -> None:
    verdicts = judged(tmp_path, traces=trace, fog=fog)
    assert [(verdict.form, verdict.status, verdict.turns, verdict.not_judged) for verdict in verdicts] == [
        ("fog", "equal", 221, ()),
        ("trace", "equal", 221, ()),
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("crc32", 100), r"turn 100: crc32: expected (\d+), got (\d+); the samples and changes of the trace give this board"),
        (("army", 221, 1), r"turn 221, player 1: army total: expected (\d+), got (\d+)"),
        (("land", 0, 0), r"turn 0, player 0: land: expected (2), got (1)"),
        (("samples", "50", "army", 7), r"turn 50, tile 7 \(row 0, column 7\): army: expected (\d+), got (\d+)"),
        (("samples", "0", "owner", 3), r"turn 0, tile 3 \(row 0, column 3\): owner: expected (-?\d+), got (-?\d+)"),
        (("final", "turn"), r"turn 221: final: turn: expected (222), got (221)"),
        (("final", "over"), r"turn 221: final: over: expected (False), got (True)"),
        (("final", "alive_at_end", 0), r"turn 221: final: alive at the end\[0\]: expected (1), got (0)"),
        (("final", "deaths", 0, "turn"), r"turn 221: final: deaths\[0\]: expected (\(1, 222\)), got (\(1, 221\))"),
        (("final", "cities", 1), r"turn 221: final: cities\[1\]: expected (\d+), got (\d+)"),
        (("final", "generals", 0), r"turn 221: final: generals\[0\]: expected (\d+), got (\d+)"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_changed_number_of_trace_is_named(tmp_path: Path, trace: dict[str, Any], path: Any, message: str) -> None:
    (verdict,) = judged(tmp_path, traces=changed(trace, add(*path)))
    assert verdict.status == "differs"
    assert re.match(message, str(verdict.difference)), str(verdict.difference)


def test_changed_delta_names_its_tile(tmp_path: Path, trace: dict[str, Any]) -> None:
    turn = next(turn for turn, row in enumerate(trace["delta"]) if turn > 30 and row)
    tile, _, army = trace["delta"][turn][:3]
    (verdict,) = judged(tmp_path, traces=changed(trace, add("delta", turn, 2)))
    difference = verdict.difference
    assert difference is not None
    assert (difference.turn, difference.tile, difference.what) == (turn, tile, "army")
    assert (difference.expected, difference.got) == (army + 1, army)


def test_changed_digest_and_bits_of_living_players_are_named(tmp_path: Path, trace: dict[str, Any]) -> None:
    other = changed(trace, lambda content: content.update(state_sha256="0" * 64))
    assert str(judged(tmp_path, traces=other)[0].difference).startswith("turn 221: state_sha256: expected '0000")
    other = changed(trace, lambda content: content["alive"].__setitem__(9, 1))
    assert str(judged(tmp_path, traces=other)[0].difference) == "turn 9, player 1: alive: expected False, got True"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (("vis_crc32", 60), r"turn 60: vis_crc32: expected (\d+), got (\d+)"),
        (("serialized", "100", 1, 5), r"turn 100, tile 3 \(row 0, column 3\), player 1: map: army: expected 1, got 0"),
        (("map_diff_player0", "0", 1), r"turn 0, player 0: map_diff\[1\]: expected (\d+), got (\d+)"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_changed_number_of_fog_file_is_named(tmp_path: Path, fog: dict[str, Any], path: Any, message: str) -> None:
    (verdict,) = judged(tmp_path, fog=changed(fog, add(*path)))
    assert verdict.status == "differs"
    assert re.match(message, str(verdict.difference)), str(verdict.difference)


def test_longer_and_shorter_traces_differ_at_the_end(tmp_path: Path, trace: dict[str, Any]) -> None:
    def shorten(content: Any) -> None:
        content["turns"] = 200
        for name in ("crc32", "army", "land", "alive", "delta"):
            del content[name][201:]

    (verdict,) = judged(tmp_path, traces=changed(trace, shorten))
    assert str(verdict.difference) == "turn 200: last turn: expected 200, got 'a game that goes on'"

    def lengthen(content: Any) -> None:
        content["turns"] = 222
        for name in ("crc32", "army", "land", "alive", "delta"):
            content[name].append(content[name][-1])

    (verdict,) = judged(tmp_path, traces=changed(trace, lengthen))
    assert str(verdict.difference) == "turn 221: last turn: expected 222, got 221"


def test_cases_of_packs_are_judged_one_by_one(tmp_path: Path, trace: dict[str, Any]) -> None:
    expect = {"turns": 221, "state_sha256": trace["state_sha256"], "winners": [0]}
    expect["crc32_every_25"] = trace["crc32"][::25]
    wrong = copy.deepcopy(expect)
    wrong["crc32_every_25"][4] += 1
    synthetic = {"events": {"turns": 221, "crc32": trace["crc32"], "deaths": [0], "winners": [0], "over": True}}
    fields = replay_fields()
    cases = [{"replay": fields, "expect": some} for some in (expect, wrong, synthetic)]
    verdicts = check([save(tmp_path / "pack.json.gz", cases)])
    assert [verdict.status for verdict in verdicts] == ["equal", "differs", "differs"]
    assert str(verdicts[1].difference).startswith(f"turn 100: crc32: expected {trace['crc32'][100] + 1}, got")
    assert str(verdicts[2].difference) == "turn 221: final: dead players[0]: expected 0, got 1"


def test_traces_find_replays_beside_them_and_replays_their_traces(tmp_path: Path, trace: dict[str, Any]) -> None:
    game = save(tmp_path / "replays" / f"{GAME}.json.gz", replay_fields())
    file = save(tmp_path / "traces" / f"{GAME}.events.json.gz", trace)
    assert [(Path(verdict.file), verdict.status) for verdict in check([game])] == [(file, "equal")]
    assert [(Path(verdict.file), verdict.status) for verdict in check([file])] == [(file, "equal")]
    game.unlink()
    (verdict,) = check([file])
    assert (verdict.status, verdict.reason) == (
        "unusable",
        f"expected the replay '{GAME}' in the given paths or beside it, got none: pass its file, too",
    )


def test_replay_without_trace_is_skipped_with_the_reason(tmp_path: Path) -> None:
    (verdict,) = check([save(tmp_path / "game.json.gz", replay_fields())])
    assert (verdict.status, verdict.reason) == ("skipped", "it has no trace to compare with")
