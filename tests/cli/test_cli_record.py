"""Tests the commands ``demo``, ``record`` and ``replay``: recorded games, output, exit status and one-line errors."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.command_line import run, runner
from support.helpers import DUEL, PATIENCE, idle
from support.paths import DATA

import generals_env
from generals_env import make_vec
from generals_env.cli.app import app, print_summary
from generals_env.cli.dataset import console
from generals_env.cli.record import WholeGames, games_at_once
from generals_env.errors import StorageError
from generals_env.opponents import POLICY_NAMES
from generals_env.recorders import ExperienceBatch, ExperienceRecorder, open_dataset, verify_dataset
from generals_env.recorders.experience.sink import ClosingSink


def endings(folder: Path) -> Counter[str]:
    """Return how many players each recorded game has ended for, after a check that the files are whole and gapless."""
    report = verify_dataset(folder)
    assert report.ok
    assert (report.gaps, report.repeats) == ({}, {})
    ends: Counter[str] = Counter()
    for batch in open_dataset(folder):
        ends.update(dict.fromkeys(batch.game_ids, 0))
        ends.update(batch.game_id[batch.terminated | batch.truncated].tolist())
    return ends


def test_demo_records_whole_games_and_renders_a_won_one(tmp_path: Path) -> None:
    output = run("demo", "--out", tmp_path, "--games", 5)
    [folder] = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert list(endings(folder).values()) == [2] * 5
    experiences = sum(len(batch) for batch in open_dataset(folder))
    size = sum(path.stat().st_size for path in folder.rglob("*.games"))
    assert f"{experiences:,}" in output
    assert f"{size:,} ({size / experiences:.1f} an experience)" in output
    assert "5 (5 at once)" in output
    assert f"turns │ {experiences // 2:,}" in output
    with Image.open(tmp_path / "game.gif") as gif:
        assert gif.n_frames > 20


def test_record_with_policy_per_player_is_reproducible(tmp_path: Path) -> None:
    boards = []
    for name in ("a", "b"):
        options = ["--players", 3, "--height", 8, "--width", 9, "--max-turns", 80, "--games", 2, "--seed", 5]
        run("record", tmp_path / name, *options, "--policies", "random,expander,random")
        boards.append([batch.boards.tiles.tobytes() for batch in open_dataset(tmp_path / name)])
    assert boards[0] == boards[1]
    assert next(iter(open_dataset(tmp_path / "a"))).players == 3


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
def test_record_plays_given_number_of_games_at_once(at_once: int, tmp_path: Path) -> None:
    options = ["--games", 7, "--height", 6, "--width", 6, "--max-turns", 150, "--parallel-games", at_once]
    output = run("record", tmp_path, *options, "--policies", "expander,random", "--naming", "games")
    assert list(endings(tmp_path).values()) == [2] * 7
    assert f"7 ({min(at_once, 7)} at once)" in output
    first_turns = dict.fromkeys(endings(tmp_path), 1000)
    for batch in open_dataset(tmp_path):
        for game, name in enumerate(batch.game_ids):
            first_turns[name] = min(first_turns[name], *batch.turn[batch.game == game].tolist())
    assert set(first_turns.values()) == {0}


def test_number_of_parallel_games_fits_into_memory() -> None:
    assert games_at_once(2000, 2, 20 * 20) == 512
    assert games_at_once(3, 2, 20 * 20) == 3
    assert 1 < games_at_once(2000, 16, 64 * 64) < 100


class Kept(ClosingSink):
    """Keeps batches; refuses some."""

    def __init__(self, refusals: int = 0) -> None:
        self.batches: list[ExperienceBatch] = []
        self.refusals = refusals

    def write(self, batch: ExperienceBatch) -> None:
        if self.refusals:
            self.refusals -= 1
            raise StorageError("sink: expected to be asked again")
        self.batches.append(batch)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def rows(self) -> list[tuple[str, int, int, int]]:
        """Return game, player, turn and action of each experience."""
        return [
            row
            for batch in self.batches
            for row in zip(
                batch.game_id.tolist(), batch.player_id.tolist(), batch.turn.tolist(), batch.action.tolist(), strict=True
            )
        ]


def play_briefly(sink: Any, **options: Any) -> None:
    with ExperienceRecorder(make_vec(5, height=6, width=6, max_turns=90), sink, "r", **options) as env:
        env.reset(seed=3)
        for _ in range(5):
            env.play(50, ("expander", "random"))


def test_record_keeps_first_started_games_whole() -> None:
    everything, some = Kept(), Kept()
    play_briefly(everything)
    whole = WholeGames(some, 8)
    play_briefly(whole)
    assert whole.complete
    kept = {f"r-{number:06d}" for number in range(8)}
    assert some.rows() == [row for row in everything.rows() if row[0] in kept]
    assert len({row[0] for row in everything.rows()}) > 8
    assert [number for batch in some.batches for number in batch.sequence] == list(range(whole.experiences))
    assert whole.turns == len({row[::2] for row in some.rows()})
    assert sum(whole.endings.values()) == 8


def test_refused_batch_is_counted_once() -> None:
    calm, refusing = Kept(), Kept(refusals=2)
    whole, after_refusals = WholeGames(calm, 8), WholeGames(refusing, 8)
    play_briefly(whole)
    play_briefly(after_refusals, overflow="block")
    assert refusing.rows() == calm.rows()
    assert (after_refusals.turns, after_refusals.experiences) == (whole.turns, whole.experiences)
    assert after_refusals.endings == whole.endings


def test_game_of_picture_is_won_and_whole() -> None:
    whole = WholeGames(Kept(), 8, picture=True)
    play_briefly(whole)
    assert whole.endings["player_0"] > 0
    boards = whole.recorded().boards
    assert boards.players["alive"][-1].tolist() == [True, False]
    assert boards.games["turn"].tolist() == list(range(len(boards.games)))


def test_wins_draws_and_truncated_games_are_counted_separately(tmp_path: Path) -> None:
    sink = Kept()
    played = WholeGames(sink, 4)
    env = ExperienceRecorder(generals_env.parallel_env(map=DUEL, max_turns=2), played)
    for leaving in ((), (), ("player_0",), ("player_0", "player_1")):
        env.reset(seed=1)
        for agent in leaving:
            env.unwrapped.surrender(agent)
        while env.agents:
            idle(env, 1)
    env.close()
    assert played.endings == {"cut off": 2, "player_1": 1, "draws": 1}
    run("record", tmp_path, "--games", 1, "--height", 6, "--width", 6, "--max-turns", 5)
    with console.capture() as shown:
        print_summary([str(tmp_path)], played, 2, 1.0, None, None)
    table = " ".join(shown.get().split())
    for row in ("games │ 4 (2 at once)", "winners │ player_1 1 │", "draws │ 1 │", "cut off │ 2 │"):
        assert row in table


def test_record_reports_truncated_games(tmp_path: Path) -> None:
    output = run("record", tmp_path, "--games", 3, "--height", 6, "--width", 6, "--max-turns", 5)
    assert "cut off │ 3" in output
    assert "draws │ 0" in output
    assert "no game was won" in output


def test_replay_prints_results_of_games() -> None:
    output = run("replay", DATA / "B5--zeFUe.json.gz")
    for word in ("B5--zeFUe", "23x23", "703", "player_6"):
        assert word in output


def test_replay_records_folder_and_reports_skipped_files(tmp_path: Path) -> None:
    output = run("replay", DATA, "--out", tmp_path / "set", "--gif", tmp_path / "game.gif")
    assert "13 games" in output
    assert "skipped" in output
    assert "README.md" in output
    assert len({name for batch in open_dataset(tmp_path / "set") for name in batch.game_ids}) == 13
    assert (tmp_path / "game.gif").stat().st_size > 10_000


def test_replay_without_readable_files_fails(tmp_path: Path) -> None:
    (tmp_path / "broken.gior").write_bytes(b"broken")
    result = runner.invoke(app, ["replay", str(tmp_path)])
    assert result.exit_code == 1
    assert "skipped" in result.output


def test_wrong_number_of_policies_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["record", str(tmp_path), "--policies", "random,random,random"])
    assert result.exit_code == 2
    assert "expected one policy or 2, got 3" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--policies", "random,hunter:hard"],
            f"policies: expected one of {POLICY_NAMES} for each of 2 players, got ['random', 'hunter:hard']: "
            "pass one name a player",
        ),
        (["--rules", "v99"], "rules: expected 'live', 'competition' or 'v3' to 'v18', got 'v99'"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "generals_env.cli", "record", str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert (done.stdout, done.stderr) == ("", f"error: {message}\n")
