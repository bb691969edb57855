"""Tests the command: its lines, table, JSON and status, and what bad input gets."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.paths import DATA, TESTS
from support.traces import GAME, competition_game, replay_fields, save, trace_of_replay
from typer.testing import CliRunner

from generals_env.conformance import check, inputs
from generals_env.conformance.command import app
from generals_env.conformance.work import Work
from generals_env.errors import ReplayError

runner = CliRunner()


def run(*arguments: Any) -> tuple[int, str]:
    """Run the command inside the test process; return its status and its output."""
    result = runner.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def games(folder: Path) -> Path:
    """Write a replay with its trace and two games of the competition, of which one differs; return the folder."""
    fields = replay_fields()
    save(folder / "replays" / f"{GAME}.json.gz", fields)
    save(folder / "traces" / f"{GAME}.events.json.gz", trace_of_replay(fields))
    wrong = competition_game(1)
    wrong["army"][9][1] += 7
    save(folder / "games.json.gz", [competition_game(0), wrong])
    save(folder / "manifest.json.gz", {"files": []})
    return folder


def test_command_names_differences_and_counts_games(tmp_path: Path) -> None:
    status, output = run(games(tmp_path))
    assert status == 1
    lines = [line.removeprefix(f"{tmp_path}/") for line in output.splitlines()]
    assert f"traces/{GAME}.events.json.gz: game {GAME} equal (221 turns)" in lines
    assert "games.json.gz: game 0 equal (60 turns)" in lines
    assert "manifest.json.gz: skipped: it lists files and holds no game" in lines
    army = competition_game(1)["army"][9][1]
    assert f"games.json.gz: 1: differs: turn 10, player 1: army total: expected {army + 7}, got {army}" in lines
    (row,) = (line for line in lines if "│ all" in line)
    assert [word for word in row.replace("│", " ").split() if word.isdigit()] == ["4", "2", "1", "1", "0", "291"]


def test_command_prints_json(tmp_path: Path) -> None:
    status, output = run(games(tmp_path), "--json", "--no-batches")
    report = json.loads(output)
    assert status == 1
    assert [report[name] for name in ("equal", "differs", "skipped", "unusable")] == [2, 1, 1, 0]
    (difference,) = (game["difference"] for game in report["games"] if game["status"] == "differs")
    assert (difference["turn"], difference["what"], difference["player"]) == (10, "army total", 1)
    assert difference["expected"] == difference["got"] + 7


def test_command_judges_another_engine_as_a_process(tmp_path: Path) -> None:
    folder = games(tmp_path) / "traces"
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "generals_env.conformance", folder, "--verbose", "--engine"]
    texts = []
    for engine in ("PlainReplayEngine", "ForgetfulReplayEngine"):
        done = subprocess.run(
            [*command, f"support.judged_engines:{engine}"], env=environment, capture_output=True, text=True, check=False
        )
        texts.append((done.returncode, done.stdout))
    assert [status for status, _ in texts] == [0, 1]
    assert f"{GAME}: equal (221 turns)" in texts[0][1]
    assert f"{GAME}: differs: turn 100, tile" in texts[1][1]


BAD = {
    "cut.json.gz": gzip.compress(json.dumps([competition_game(0)]).encode())[:-40],
    "text.json": b"hello",
    "page.json": b"<!DOCTYPE html><html></html>",
    "nested.json": b"[" * 100_000,
    "number.json": b"[" + b"9" * 10_000 + b"]",
    "archive.gior": b"PK\x03\x04" + bytes(100),
    "zeros.gior": bytes(1000),
    "empty.json": b"",
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_cannot_be_read_are_unusable(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD[name])
    (verdict,) = check([tmp_path])
    assert (verdict.status, verdict.file) == ("unusable", str(tmp_path / name))
    assert verdict.reason
    assert run(tmp_path)[0] == 2


def sample(turn: int, castle: int = 0) -> dict[str, Any]:
    """Return a sample of a game of the competition on 4 x 5 tiles."""
    return {"turn": turn, "time": turn, "owner": [0] * 20, "army": [0] * 20, "castle": [castle] * 20}


def start(**changes: dict[int, int]) -> dict[str, Any]:
    """Return the position at which a game of the competition begins, with other numbers on some tiles."""
    position: dict[str, Any] = competition_game(0, 1)["start"]
    for name, numbers in changes.items():
        for tile, number in numbers.items():
            position[name][tile] = number
    return position


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"h": 0}, "h: expected a whole number from 2 to 64, got 0"),
        ({"w": 10**6}, "w: expected a whole number from 2 to 64"),
        ({"grid": [0] * 20}, "grid: expected one general of player 0"),
        ({"grid": "x"}, "grid: expected a list of whole numbers, got 'x'"),
        ({"actions": [[0] * 9] * 60}, "actions[0]: expected 10 whole numbers"),
        ({"actions": []}, "actions: expected 1 to 60000 turns, got 0"),
        ({"crc": [1]}, "crc: expected 60 numbers, got 1"),
        ({"crc": [2**40] * 60}, "crc: expected a whole number from 0 to 4294967295"),
        ({"army": [[1, 2, 3]] * 60}, "army[0]: expected 2 whole numbers"),
        ({"samples": [5]}, "samples[0]: expected turn, time, owner and army, got 5"),
        ({"start": {"time": 0}}, "start: expected time, owner, army and castle"),
        ({"final": 3}, "final: expected named fields, got 3"),
        ({"samples": [sample(20), sample(20)]}, "samples[1]: expected one board a turn, got a second one of turn 20"),
        ({"samples": [sample(20, castle=257)]}, "samples[0]: castle: expected a whole number from 0 to 1, got 257"),
        ({"start": start(castle={7: 1})}, "start: castle: expected 0 on mountains and generals, got another on tile 7"),
        ({"start": start(castle={18: 1})}, "start: castle: expected 0 on mountains and generals, got another on tile 18"),
        ({"start": start(army={12: 4})}, "start: army: expected 0 on mountains, got another on tile 12"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_damaged_games_of_the_competition_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "games.json.gz", [competition_game(0), competition_game(0) | change])
    good, bad = check([path], batches=False)
    assert (good.status, bad.status, bad.game) == ("equal", "unusable", "number 1")
    assert message in bad.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"turns": 3}, "crc32: expected 4 numbers, got 222"),
        ({"turns": -1}, "turns: expected a whole number from 0 to 60000, got -1"),
        ({"width": 99}, "width: expected 19 as in the replay, got 99"),
        ({"crc32": None}, "crc32: expected a list of whole numbers, got None"),
        ({"army": [[1]] * 222}, "army[0]: expected 2 whole numbers, got [1]"),
        ({"delta": [[1, 2]] * 222}, "delta[0]: expected three numbers a tile, got 2 numbers"),
        ({"delta": [[10**6, 0, 0]] * 222}, "delta[0]: expected tiles from 0 to"),
        ({"samples": {"x": 1}}, "samples: expected turns from 0 to 221 as names, got 'x'"),
        ({"samples": {"222": 1}}, "samples: expected turns from 0 to 221 as names, got '222'"),
        ({"samples": {"07": 1}}, "samples: expected turns from 0 to 221 as names, got '07'"),
        ({"version": 2}, "version: expected 18 as in the replay, got 2"),
        ({"teams": [0, 0]}, "teams: expected [0, 1] as in the replay, got [0, 0]"),
        ({"modifiers": [7]}, "modifiers: expected [] as in the replay, got [7]"),
        ({"samples": {}}, "samples: expected the board of turn 0"),
        ({"state_sha256": 5}, "state_sha256: expected 64 hexadecimal digits, got 5"),
        ({"final": {"deaths": [1]}}, "final: deaths: expected records of player and turn, got 1"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_damaged_traces_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    fields = replay_fields()
    save(tmp_path / "replays" / f"{GAME}.json.gz", fields)
    save(tmp_path / "traces" / f"{GAME}.events.json.gz", trace_of_replay(fields) | change)
    (verdict,) = check([tmp_path])
    assert verdict.status == "unusable"
    assert message in verdict.reason


def test_games_of_bounded_work_only_are_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work(limit=100)
    work.spend(60)
    with pytest.raises(ReplayError, match="expected at most 100 tiles times turns in a file, got 160"):
        work.spend(100)
    # Small files describe long games on large boards: they are refused before they are played.
    endless = {
        "version": 13, "id": "endless", "mapWidth": 128, "mapHeight": 128, "cities": [], "cityArmies": [],
        "generals": [0, 9], "mountains": [], "moves": [[0, 0, 1, 0, 59_990]],
    }  # fmt: skip
    cases = [{"replay": endless, "expect": {"turns": 59_990}}] * 9
    monkeypatch.setattr("generals_env.conformance.replay_files.judge_replay", lambda *_: (0, None, ()))
    verdicts = check([save(tmp_path / "cases.json.gz", cases)])
    assert [verdict.status for verdict in verdicts] == ["equal"] * 4 + ["unusable"] * 5


def test_files_of_bounded_size_only_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_BYTES", 2**16)
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b" " * 2**20))
    (verdict,) = check([tmp_path])
    assert "expected at most 65536 bytes, got more" in verdict.reason


def test_ids_of_files_cannot_lead_out_of_their_folder_nor_to_the_terminal(tmp_path: Path) -> None:
    fields = replay_fields() | {"id": f"../../{DATA.name}/\x1b[2Jgame"}
    (verdict,) = check([save(tmp_path / "game.json", fields)])
    assert verdict.status == "skipped"
    assert "\x1b" not in run(tmp_path)[1]


def test_paths_and_forms_that_are_unknown_are_refused(tmp_path: Path) -> None:
    (verdict,) = check([tmp_path / "none"])
    assert (verdict.status, verdict.reason) == ("unusable", "expected a file or a folder, got none: check the path")
    other = save(tmp_path / "other.json.gz", {"a": 1})
    assert [verdict.status for verdict in check([tmp_path])] == ["skipped"]
    assert [verdict.status for verdict in check([other])] == ["unusable"]
    assert run(tmp_path)[0] == 2  # nothing was judged
