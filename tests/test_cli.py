"""The command line does what it says, and says what went wrong in one line."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers import DUEL, PATIENCE, idle, started
from PIL import Image
from typer.testing import CliRunner

from generals_env.cli import app, ending, print_summary
from generals_env.cli_dataset import console
from generals_env.recorders import open_dataset

DATA = Path(__file__).parent / "data"
runner = CliRunner()


def run(*arguments: object) -> str:
    result = runner.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_demo_records_games_and_draws_one(tmp_path: Path) -> None:
    output = run("demo", "--out", tmp_path, "--games", 2)
    [folder] = [path for path in tmp_path.iterdir() if path.is_dir()]
    experiences = sum(len(batch) for batch in open_dataset(folder))
    terminal = sum(int((batch.terminated | batch.truncated).sum()) for batch in open_dataset(folder))
    assert terminal == 4
    assert f"{experiences:,}" in output
    for row in ("games", "turns", "winners", "bytes on disk", "experiences per second"):
        assert row in output
    with Image.open(tmp_path / "game.gif") as gif:
        assert gif.n_frames > 20


def test_record_takes_a_policy_a_player_and_is_reproducible(tmp_path: Path) -> None:
    boards = []
    for name in ("a", "b"):
        options = ["--players", 3, "--height", 8, "--width", 9, "--max-turns", 80, "--games", 2, "--seed", 5]
        run("record", tmp_path / name, *options, "--policies", "random,expander,random")
        boards.append([batch.boards.tiles.tobytes() for batch in open_dataset(tmp_path / name)])
    assert boards[0] == boards[1]
    assert next(iter(open_dataset(tmp_path / "a"))).players == 3


def test_wins_draws_and_games_cut_off_are_told_apart(tmp_path: Path) -> None:
    endings: Counter[str] = Counter()
    for leaving, max_turns in (((), 1), ((), 1), (("player_0",), 9), (("player_0", "player_1"), 9)):
        env = started(DUEL, max_turns=max_turns)
        for agent in leaving:
            env.surrender(agent)
        truncated = idle(env, 1)[3]
        assert not env.agents
        endings[ending(env.get_winner(), any(truncated.values()))] += 1
    assert endings == {"cut off": 2, "player_1": 1, "draws": 1}
    run("record", tmp_path, "--games", 1, "--height", 6, "--width", 6, "--max-turns", 5)
    with console.capture() as shown:
        print_summary(str(tmp_path), 4, 4, endings, 8, 1.0, None)
    assert "player_1 1, draws 1, cut off 2" in " ".join(shown.get().split())


def test_record_tells_of_games_that_were_cut_off(tmp_path: Path) -> None:
    output = run("record", tmp_path, "--games", 3, "--height", 6, "--width", 6, "--max-turns", 5)
    assert "cut off 3" in output
    assert "draws" not in output


def test_replay_shows_how_games_end() -> None:
    output = run("replay", DATA / "B5--zeFUe.json.gz")
    for word in ("B5--zeFUe", "23x23", "703", "player_6"):
        assert word in output


def test_replay_records_a_folder_and_reports_what_it_skips(tmp_path: Path) -> None:
    output = run("replay", DATA, "--out", tmp_path / "set", "--gif", tmp_path / "game.gif")
    assert "13 games" in output
    assert "skipped" in output
    assert "README.md" in output
    assert len({name for batch in open_dataset(tmp_path / "set") for name in batch.game_ids}) == 13
    assert (tmp_path / "game.gif").stat().st_size > 10_000


def test_nothing_to_replay_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "broken.gior").write_bytes(b"broken")
    result = runner.invoke(app, ["replay", str(tmp_path)])
    assert result.exit_code == 1
    assert "skipped" in result.output


def test_wrong_number_of_policies(tmp_path: Path) -> None:
    result = runner.invoke(app, ["record", str(tmp_path), "--policies", "random,random,random"])
    assert result.exit_code == 2
    assert "expected one policy or 2, got 3" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policies", "hunter"], "opponent: expected one of random, expander, got 'hunter'"),
        (["--rules", "v99"], "rules: expected 'live' or 'v3' to 'v18', got 'v99'"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "generals_env.cli", "record", str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert (done.stdout, done.stderr) == ("", f"error: {message}\n")
