"""Tests the commands of programs that play over pipes: agent, match, pack, qualify, starter."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from support.command_line import run, runner

from generals_env.cli.app import app
from generals_env.replay import files

SMALL = ("--height", 6, "--width", 6, "--max-turns", 30, "--move-ms", 60_000, "--first-move", 600)


def test_match_writes_results_and_replays(tmp_path: Path) -> None:
    output = run("match", "builtin:expander", "builtin:random", "--maps", 1, *SMALL, "--replays", tmp_path / "games", "--json")
    result = json.loads(output)
    assert result["games"] == 2
    assert result["programs"]["A"]["moves"] == result["turns"]
    assert result["programs"]["A"]["faults"] == {}
    names = [file.name for file in sorted((tmp_path / "games").iterdir())]
    assert names == ["map_000000_A_first.generals", "map_000000_B_first.generals"]
    game = files.load(tmp_path / "games" / names[1])
    assert game.turns == result["results"][1]["turns"]
    assert game.boards.owner.shape == (game.turns + 1, 36)


def test_match_shows_results_by_seat_and_failures(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import sys; sys.exit('out of ideas')")
    output = run("match", f"{sys.executable} {broken}", "builtin:random", "--maps", 1, *SMALL)
    for text in (
        "2 games",
        "player 0",
        "player 1",
        "by a forfeit",
        "out of ideas",
        "ended with status 1",
        "microseconds of CPU",
    ):
        assert text in output


def test_match_of_unknown_policy_is_refused() -> None:
    result = runner.invoke(app, ["match", "builtin:greedy", "builtin:random"])
    assert (
        "command: expected one of builtin:random, builtin:expander, builtin:hunter, builtin:planner, builtin:trained, "
        "got 'builtin:greedy'" in str(result.exception)
    )


def test_agent_command_plays_and_says_what_is_wrong() -> None:
    frame = "0 4 4\n0 1 1 1 1\n" + "1 1 1 1\n" * 4 + "1 0 0 0\n" + "0 0 0 0\n" * 3 + "5 0 0 0\n" + "0 0 0 0\n" * 3
    result = runner.invoke(app, ["agent", "--policy", "expander"], input=frame.encode())
    assert result.exit_code == 0
    assert result.stdout in ("0 0 0 1 0\n", "0 0 0 3 0\n")
    result = runner.invoke(app, ["agent"], input=b"hello\n")
    assert "line 1: expected the first line, 'player height width', got b'hello" in str(result.exception)
    assert runner.invoke(app, ["agent", "--protocol", "telnet"]).exit_code == 2


def test_starter_is_packed_and_qualifies(tmp_path: Path) -> None:
    assert "run.sh" in run("starter", "python", tmp_path / "bot")
    assert "3 files" in run("pack", tmp_path / "bot", "--out", tmp_path / "bot.zip")
    size = ("--height", 8, "--width", 8, "--max-turns", 500, "--games", 1, "--seed", 2)
    result = runner.invoke(app, ["qualify", str(tmp_path / "bot.zip"), "--opponent", "builtin:random", *map(str, size)])
    assert "run.sh" in result.output
    assert (result.exit_code == 0) == ("not qualified" not in result.output)  # a busy machine may make a move late


def test_qualify_has_status_one_for_a_failing_agent(tmp_path: Path) -> None:
    folder = tmp_path / "bot"
    folder.mkdir()
    (folder / "run.sh").write_text("echo nothing to say >&2; exit 1\n")
    run("pack", folder, "--out", tmp_path / "bot.zip")
    result = runner.invoke(app, ["qualify", str(tmp_path / "bot.zip"), "--games", "1", "--height", "6", "--width", "6"])
    assert result.exit_code == 1
    assert "nothing to say" in result.output
    assert "not qualified" in result.output
