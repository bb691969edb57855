"""Tests ``generals-env replay``: games of files, datasets and logs as tables, text, films, pages and replay files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
from PIL import Image
from support.helpers import same
from support.paths import DATA
from typer.testing import CliRunner

from generals_env import replay
from generals_env.cli.app import app
from generals_env.recorders import record_replays

FILE = DATA / "duel_small.json.gz"


def run(*arguments: Any) -> Any:
    """Run the command and return its result."""
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return one game in every form that can be opened."""
    folder = tmp_path_factory.mktemp("forms")
    game = replay.read(FILE)
    replay.write(folder / "game.gior", game)
    replay.write(folder / "game.generals", game)
    record_replays([FILE, DATA / "duel.json.gz"], folder / "dataset")
    assert CliRunner().invoke(app, ["replay", str(FILE), "--log", str(folder / "log")]).exit_code == 0
    return {
        "json": FILE,
        "gior": folder / "game.gior",
        "generals": folder / "game.generals",
        "dataset": folder / "dataset",
        "log": folder / "log",
    }


@pytest.mark.parametrize("form", ["json", "gior", "generals", "dataset", "log"])
def test_game_of_every_form_is_listed_saved_and_printed(form: str, places: dict[str, Path], tmp_path: Path) -> None:
    wanted = replay.load(FILE)
    listed = run(places[form])
    assert listed.exit_code == 0
    assert f"7x7 | {wanted.turns} | " in " | ".join(listed.output.replace("│", "").split())
    options = ["--game", wanted.id] if form in ("dataset", "log") else []
    shown = run(places[form], *options, "--text", "--turn", 3, "--save", tmp_path / "saved.generals")
    assert shown.exit_code == 0, shown.output
    assert shown.output.splitlines()[0] == "turn 3"
    again = replay.load(tmp_path / "saved.generals")
    assert same(
        [again.boards.owner, again.boards.army, again.actions], [wanted.boards.owner, wanted.boards.army, wanted.actions]
    )


def test_game_becomes_gif_film_and_page(places: dict[str, Path], tmp_path: Path) -> None:
    gif, mp4, html = (tmp_path / name for name in ("game.gif", "game.mp4", "game.html"))
    result = run(places["dataset"], places["gior"], "--gif", gif, "--mp4", mp4, "--html", html, "--player", 1)
    assert result.exit_code == 0, result.output
    with Image.open(gif) as picture:
        assert 2 <= picture.n_frames <= 101
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(mp4))
    assert frames >= 100
    assert html.read_text().count("duel_small") >= 2


def test_game_that_cannot_be_shown_says_why(places: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.generals").write_bytes(b"GENS\x01none")
    bad = run(tmp_path / "bad.generals", "--text")
    assert bad.exit_code == 1
    assert "expected a whole .generals file" in bad.output
    unknown = run(places["dataset"], "--game", "none", "--text")
    assert unknown.exit_code == 1
    assert "expected the id of a game" in " ".join(unknown.output.split())
    for arguments, text in (
        ([FILE, "--text", "--player", 2], "expected 0 to 1"),
        ([tmp_path / "none"], "expected files or folders"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert text in " ".join(result.output.replace("│", "").split())
