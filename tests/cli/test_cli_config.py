"""Tests ``generals-env config``: show, check, init, schema; and the options that other commands share."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.command_line import run, runner

from generals_env.cli.app import app
from generals_env.cli.config import parse_set, read_settings, settings_or_exit
from generals_env.cli.dataset import console
from generals_env.errors import ConfigError
from generals_env.operations.settings.keys import KEYS
from generals_env.operations.settings.load import load_settings
from generals_env.operations.settings.models import Settings


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 200)


def refused(*arguments: object) -> list[str]:
    """Return the lines of the errors of a command that ends with status 2."""
    result = runner.invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, ConfigError):
        return [str(result.exception)]
    assert result.exit_code == 2, result.output
    return result.output.splitlines()


@pytest.mark.checklist("K1")
def test_init_writes_all_keys_with_defaults_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "experience.yaml"
    assert run("config", "init", path) == f"wrote {path}"
    text = path.read_text(encoding="utf-8")
    assert load_settings(path, {}) == Settings()
    assert run("config", "check", path) == f"{path}: {len(KEYS)} settings, all valid"
    comments = " ".join(text.replace("#", "").split())
    for key in KEYS.values():
        assert key.description in comments
        assert re.search(rf"^ *{key.parts[-1]}: ", text, re.MULTILINE)
    path.write_text("# mine\n")
    assert refused("config", "init", path) == [
        f"{path}: expected a new file, got one that exists: delete it, or pass another path"
    ]
    assert path.read_text() == "# mine\n"
    missing = tmp_path / "no" / "a.yaml"
    assert refused("config", "init", missing) == [
        f"{missing}: expected a writable path, got No such file or directory: pass another one"
    ]


@pytest.mark.checklist("K1")
def test_check_prints_a_line_for_each_fault(tmp_path: Path) -> None:
    path = tmp_path / "experience.yaml"
    path.write_text("games:\n  player: 3\n  seed: -1\n  rules: ':boom: [red]x'\n")
    assert refused("config", "check", path) == [
        f"error: {path}:2: games.player: unknown key: did you mean players?",
        f"error: {path}:3: games.seed: expected an integer of at least 0 or null, got -1",
    ]
    path.write_text("games:\n  rules: ':boom: [red]x'\n")
    assert refused("config", "check", path) == [
        f"error: {path}:2: games.rules: expected 'live', 'competition' or 'v3' to 'v18', got ':boom: [red]x'"
    ]


@pytest.mark.checklist("K10", "K11")
def test_show_lists_values_origins_and_what_needs_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("games:\n  seed: 5\n  height: [8, 9]\n")
    monkeypatch.setenv("GENERALS_ENV_LOG__DIRECTORY", "logs")
    command = ["config", "show", "--config", str(path), "--set", "games.policies=[random]", "--origin", "--changed"]
    output = runner.invoke(app, command).output
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if line.startswith("│")]
    assert rows == [
        ["games.policies", "[random]", "live", "--set"],
        ["games.height", "[8, 9]", "live", f"{path}:3"],
        ["games.seed", "5", "live", f"{path}:2"],
        ["log.directory", "logs", "restart", "GENERALS_ENV_LOG__DIRECTORY"],
    ]
    everything = run("config", "show")
    assert all(key in everything for key in KEYS)
    assert "games.seed" not in run("config", "show", "--changed")


def test_set_takes_scalars_and_lists_and_names_what_is_wrong() -> None:
    assert parse_set(["games.seed=5", "games.width=[8, 9]", "log.directory=a=b", "games.seed=6", "games.fog=false"]) == {
        "games.seed": 6,
        "games.width": (8, 9),
        "log.directory": "a=b",
        "games.fog": False,
    }
    assert refused("config", "show", "--set", "games.seed") == [
        "error: --set: expected key=value, got 'games.seed': write one like --set collection.buffer_size=100"
    ]
    assert refused("config", "show", "--set", "games.seed=08", "--set", "a=1")[0].startswith(
        "error: --set: games.seed: expected an unambiguous value, got 08: "
    )
    assert refused("config", "show", "--set", "games.sed=8") == [
        "error: --set: games.sed: unknown key: did you mean games.seed?"
    ]


@pytest.mark.checklist("K11")
def test_options_of_a_command_take_precedence_over_set(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = read_settings(None, ["games.seed=5", "games.players=3"], {"games.seed": 7}, {"games.seed": "--seed"})
    assert (loaded.settings.games.seed, loaded.settings.games.players) == (7, 3)
    assert loaded.origins == {"games.seed": "--seed", "games.players": "--set"}
    with pytest.raises(Exception) as caught:  # noqa: PT011 - click's own
        settings_or_exit(None, None, {"games.seed": -7, "games.players": 1}, {"games.seed": "--seed"})
    assert getattr(caught.value, "exit_code", None) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: --set: games.players: expected an integer from 2 to 16, got 1",
        "error: --seed: games.seed: expected an integer of at least 0 or null, got -7",
    ]


@pytest.mark.checklist("K1")
def test_schema_accepts_the_written_file_and_refuses_unknown_keys(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed: pip install generals_env[dev]")
    schema = json.loads(runner.invoke(app, ["config", "schema"]).output)
    path = tmp_path / "experience.yaml"
    run("config", "init", path)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(content)) == []
    content["experience"]["games"]["player"] = 2
    content["experience"]["storage"]["s3"]["bucket"] = 3
    assert sorted(error.json_path for error in validator.iter_errors(content)) == [
        "$.experience.games",
        "$.experience.storage.s3.bucket",
    ]


def test_missing_libraries_are_one_line_and_other_commands_work() -> None:
    code = "import sys; sys.modules['yaml'] = None; from generals_env.cli import main; main()"
    for arguments, status in ((["config", "show"], 2), (["config", "init"], 2), (["record", "--help"], 0)):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert ('pip install "generals_env[settings]"' in " ".join(done.stderr.split())) == (status == 2)
        assert "Traceback" not in done.stderr
