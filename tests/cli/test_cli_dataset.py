"""Tests ``generals-env dataset``: info, head, stats, convert and verify, and their errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.command_line import run, runner
from support.datasets import everything, key, recorded
from support.s3 import s3, s3_process

from generals_env.cli.app import app
from generals_env.recorders import DatasetWriter, ExperienceBatch, ExperienceLog, open_dataset
from generals_env.recorders.formats import FORMATS

__all__ = ["s3", "s3_process"]


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded(4)


@pytest.fixture
def place(batches: list[ExperienceBatch], tmp_path: Path) -> Path:
    with DatasetWriter(tmp_path / "set", max_file_bytes=10_000) as writer:
        for batch in batches:
            writer.write(batch)
    return tmp_path / "set"


def failed(*arguments: object) -> str:
    result = runner.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 1, result.output
    return result.output.replace("\n", "")


def test_info_prints_summary_of_dataset(place: Path) -> None:
    output = run("dataset", "info", place)
    dataset = open_dataset(place)
    for text in (
        "npz",
        f"{dataset.experiences:,}",
        f"{dataset.nbytes:,}",
        "6x7, 2 players",
        "reward_hash",
        str(len(dataset.files)),
    ):
        assert text in output
    for path in place.rglob("_index.json"):
        path.unlink()
    assert "≥ 0" in run("dataset", "info", place)


def test_head_prints_first_experiences(place: Path, batches: list[ExperienceBatch]) -> None:
    output = run("dataset", "head", place, "-n", 50)
    assert output.count("run-000000") == 50
    assert re.search(r"\d,\d (up|down|left|right)", output)
    assert "run-000001" in run("dataset", "head", place, "--count", 10_000)


def test_stats_counts_all_experiences(place: Path, batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    output = run("dataset", "stats", place)
    passes = int((whole.action == 8 * 6 * 7).sum())
    for text in (
        "games │ 4",
        f"experiences │ {len(whole):,}",
        f"truncated │ {whole.truncated.sum()}",
        f"pass │ {passes:,}",
        "█",
    ):
        assert text in output
    assert sum(int(number) for number in re.findall(r"of player \d │ (\d+)", output)) == len(whole)


@pytest.mark.parametrize("form", FORMATS)
def test_convert_writes_all_experiences_in_other_format(form: str, place: Path, tmp_path: Path) -> None:
    output = run("dataset", "convert", place, tmp_path / form, "--format", form, "--naming", "games")
    assert f"{open_dataset(place).experiences:,}" in output
    assert key(everything(tmp_path / form)) == key(everything(place))
    assert {file.format for file in open_dataset(tmp_path / form).files} == {form}


def test_convert_reads_and_writes_s3(place: Path, tmp_path: Path, s3: str) -> None:
    run("dataset", "convert", place, s3, "--format", "parquet")
    run("dataset", "verify", s3)
    run("dataset", "convert", s3, tmp_path / "back", "--format", "npz")
    assert key(everything(tmp_path / "back")) == key(everything(place))


def test_convert_refuses_its_own_source_as_target(place: Path) -> None:
    result = runner.invoke(app, ["dataset", "convert", str(place), f"{place}/../set"])
    assert result.exit_code == 2
    assert "expected another folder than SOURCE" in result.output.replace("\n", "")


def test_verify_finds_damage_and_repairs_it(place: Path, tmp_path: Path) -> None:
    assert "damages │ 0" in run("dataset", "verify", place)
    victim = Path(open_dataset(place).files[1].place)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    output = failed("dataset", "verify", place)
    assert victim.name in output
    assert "another checksum than in the index" in output
    run("dataset", "convert", place, tmp_path / "rest", "--skip-damaged")
    failed("dataset", "verify", place, "--repair")
    run("dataset", "verify", place)
    assert len(everything(place)) == len(everything(tmp_path / "rest"))


def test_info_and_verify_accept_logs(batches: list[ExperienceBatch], tmp_path: Path) -> None:
    with ExperienceLog(tmp_path / "log") as log:
        for batch in batches:
            log.write(batch)
    whole = ExperienceBatch.concat(batches)
    assert f"experiences │ {len(whole):,}" in run("dataset", "verify", tmp_path / "log")
    assert f"log │ 1 │ {len(whole):,}" in run("dataset", "info", tmp_path / "log")
    run("dataset", "convert", tmp_path / "log", tmp_path / "files", "--format", "games")
    assert key(everything(tmp_path / "files")) == key(whole)
    (segment,) = (tmp_path / "log").glob("*.db")
    content = bytearray(segment.read_bytes())
    content[-3000] ^= 1
    segment.write_bytes(content)
    assert segment.name in failed("dataset", "verify", tmp_path / "log")
    failed("dataset", "verify", tmp_path / "log", "--repair")
    run("dataset", "verify", tmp_path / "log")


def test_empty_dataset_gives_one_line_error(tmp_path: Path) -> None:
    result = runner.invoke(app, ["dataset", "info", str(tmp_path)])
    assert isinstance(result.exception, OSError)
    assert "path: expected a folder with files of experience" in str(result.exception)
