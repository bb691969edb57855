"""Tests that what each command records is read by every other: files of each format, logs, S3 and servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_line import run, runner
from support.datasets import everything, key
from support.helpers import PATIENCE
from support.paths import DATA
from support.run_process import SMALL, RunProcess
from support.s3 import s3, s3_process

from generals_env.cli.app import app
from generals_env.recorders import ExperienceBatch, ExperienceConsumer, ExperienceLog, ExperienceServer, open_dataset
from generals_env.recorders.formats import FORMATS

pytest.importorskip("torch", reason='torch is not installed: pip install "generals_env[torch]"')
pytest.importorskip("grpc", reason='grpc is not installed: pip install "generals_env[stream]"')

__all__ = ["s3", "s3_process"]

NETWORK = ("--batch-size", 4, "--channels", 4, "--blocks", 0)

GAMES = ("--games", 2, "--height", 5, "--width", 5, "--max-turns", 40, "--policies", "expander,random")


def served(log: Path) -> ExperienceServer:
    """Return a server over a log that accepts submissions."""
    return ExperienceServer(ExperienceLog(log), "127.0.0.1:0")


def record_to_server(folder: Path) -> str:
    """Record to a server over a log, and return the folder of the log."""
    with served(folder / "server") as server:
        run("record", f"grpc://{server.address}", *GAMES)
    return str(folder / "server")


def submit_to_server(folder: Path) -> str:
    """Submit a dataset to a server over a log, and return the folder of the log."""
    run("record", folder / "before", *GAMES)
    with served(folder / "server") as server:
        run("submit", folder / "before", server.address)
    return str(folder / "server")


def convert_to_log(folder: Path) -> str:
    """Convert a dataset to a log, and return its folder."""
    run("record", folder / "before", *GAMES)
    run("dataset", "convert", folder / "before", folder / "converted", "--format", "log")
    return str(folder / "converted")


def record_log(folder: Path) -> str:
    """Record into a log only, and return its folder."""
    run("record", "--log", folder / "log", *GAMES)
    return str(folder / "log")


def record_both(folder: Path) -> str:
    """Record into files and a log, compare them, and return the folder of the log."""
    run("record", folder / "files", "--log", folder / "log", *GAMES)
    assert key(everything(folder / "log")) == key(everything(folder / "files"))
    return str(folder / "log")


def record_as(form: str) -> Callable[[Path], str]:
    """Return a function that records files of a format, and returns their folder."""

    def record(folder: Path) -> str:
        run("record", folder / "files", "--format", form, *GAMES)
        return str(folder / "files")

    return record


def replay_games(folder: Path) -> str:
    """Record a replay, and return the folder."""
    run("replay", DATA / "duel_small.json.gz", "--out", folder / "replays", "--log", folder / "replays-log")
    assert key(everything(folder / "replays-log")) == key(everything(folder / "replays"))
    return str(folder / "replays")


def run_games(folder: Path) -> str:
    """Play, log and store games by ``run`` with a policy of ``train``, compare log and files, and return the log's folder."""
    pytest.importorskip("prometheus_client", reason='prometheus_client is not installed: pip install "generals_env[metrics]"')
    run("record", folder / "before", *GAMES)
    run("train", folder / "before", "--checkpoint", folder / "policy.pt", "--steps", 1, "--min-size", 50, *NETWORK)
    settings = (*SMALL, f"games.policies=[{folder / 'policy.pt'}, expander]", "games.parallel=2")
    with RunProcess(folder, "--games", "2", "--log", "run-log", "--out", "run-files", settings=settings) as process:
        assert process.process.wait(PATIENCE) == 0, process.report()
    assert key(everything(folder / "run-log")) == key(everything(folder / "run-files"))
    return str(folder / "run-log")


WRITERS: dict[str, Callable[[Path], str]] = {
    **{f"record {form}": record_as(form) for form in FORMATS},
    "record log": record_log,
    "record both": record_both,
    "record server": record_to_server,
    "submit": submit_to_server,
    "convert": convert_to_log,
    "replay": replay_games,
    "run": run_games,
}


def check_readers(source: str, folder: Path) -> None:
    """Read a source by each command that reads, and check that each one gets all experiences."""
    written = ExperienceBatch.concat(list(open_dataset(source)))
    expected, count = key(written), len(written)
    assert f"{count:,}" in run("dataset", "info", source)
    assert f"experiences │ {count:,}" in run("dataset", "stats", source)
    assert f"experiences │ {count:,}" in run("dataset", "verify", source)
    assert written.game_ids[0][:8] in run("dataset", "head", source)
    run("dataset", "convert", source, folder / "as-files", "--format", "parquet")
    assert key(everything(folder / "as-files")) == expected
    run("dataset", "convert", source, folder / "as-log", "--format", "log")
    assert key(everything(folder / "as-log")) == expected
    with served(folder / "submitted") as server, ExperienceConsumer(server.address) as consumer:
        assert f"accepted │ {count:,}" in run("submit", source, server.address)
        received = ExperienceBatch.concat(list(consumer.stream_experiences(follow=False, batch_size=None)))
    assert key(received) == expected
    options = ("--steps", 2, "--min-size", count, *NETWORK, "--log-format", "json")
    result = runner.invoke(app, [str(one) for one in ("train", source, "--checkpoint", folder / "model.pt", *options)])
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["event"] for event in events if event["event"] != "step"] == ["waiting", "beginning", "saved"]
    assert [event for event in events if event["event"] == "step"][-1]["received"] == count


@pytest.mark.checklist("A2")
@pytest.mark.parametrize("writer", WRITERS)
def test_what_one_command_writes_every_other_reads(writer: str, tmp_path: Path) -> None:
    check_readers(WRITERS[writer](tmp_path), tmp_path)


@pytest.mark.checklist("A2")
def test_what_commands_write_to_s3_every_other_reads(s3: str, tmp_path: Path) -> None:
    run("record", s3, "--log", tmp_path / "log", *GAMES)
    assert key(everything(tmp_path / "log")) == key(everything(s3))
    check_readers(s3, tmp_path)
