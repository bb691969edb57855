"""Folders and exports, read with the libraries that users have: Polars, DuckDB, pandas, pyarrow, datasets and Minari."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.paths import DATA

from generals_env import make_vec
from generals_env.config import RewardConfig
from generals_env.recorders import (
    DatasetWriter,
    ExperienceBatch,
    ExperienceRecorder,
    open_dataset,
    record_replays,
    repair_dataset,
    to_hugging_face,
    to_minari,
    verify_dataset,
)
from generals_env.recorders.formats import parquet
from generals_env.single import GeneralsSingleVector
from generals_env.wrappers import FogMemory, FrameStack, PotentialShaping

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the library is loaded


PLAYED = 2 * 2 * 30  # experiences: games, players, turns

ENGLISH = {"height": 6, "width": 7, "max_turns": 20}


def recorded(place: Path, turns: int = 30, **options: Any) -> Path:
    """Record two games after another, in several files."""
    env = make_vec(2, **{**ENGLISH, **options})
    players = env.unwrapped.config.players
    with ExperienceRecorder(env, DatasetWriter(place, format="parquet")) as recorder:
        recorder.reset(seed=1)
        for _ in range(3):
            recorder.play(turns // 3, ("expander", "random", "random")[:players])
            recorder.flush()
    return place


# --- Scans of whole folders -------------------------------------------------------------------------------------------


def with_polars(folder: Path) -> tuple[int, float]:
    polars = pytest.importorskip("polars")
    table = polars.scan_parquet(folder, hive_partitioning=True)
    return tuple(table.select(polars.len(), polars.col("reward").sum()).collect().row(0))


def with_polars_at_once(folder: Path) -> tuple[int, float]:
    polars = pytest.importorskip("polars")
    table = polars.read_parquet(folder)
    return len(table), table["reward"].sum()


def with_pandas(folder: Path) -> tuple[int, float]:
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(folder)
    return len(table), table["reward"].sum()


def with_pyarrow(folder: Path) -> tuple[int, float]:
    dataset = pytest.importorskip("pyarrow.dataset")
    table = dataset.dataset(folder, format="parquet", partitioning="hive").to_table(columns=["reward", "hour"])
    return table.num_rows, table["reward"].to_numpy().sum()


def with_duckdb(folder: Path) -> tuple[int, float]:
    duckdb = pytest.importorskip("duckdb")
    types = "{'year': INTEGER, 'month': INTEGER, 'day': INTEGER, 'hour': INTEGER}"
    source = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true, hive_types = {types})"
    with duckdb.connect() as connection:
        return connection.sql(f"SELECT count(*), sum(reward) FROM {source} WHERE hour BETWEEN 0 AND 23").fetchall()[0]


def with_datasets(folder: Path) -> tuple[int, float]:
    datasets = pytest.importorskip("datasets")
    table = datasets.load_dataset("parquet", data_dir=str(folder), cache_dir=str(folder.parent / "cache"))["train"]
    return len(table), np.sum(table["reward"])


READERS = [with_polars, with_polars_at_once, with_pandas, with_pyarrow, with_duckdb, with_datasets]


@pytest.mark.parametrize("read", READERS)
def test_a_folder_is_one_table_for_others(read: Callable[[Path], tuple[int, float]], tmp_path: Path) -> None:
    folder = recorded(tmp_path / "set")
    assert verify_dataset(folder).unindexed == []
    expected = sum(float(batch.reward.sum()) for batch in open_dataset(folder))
    count, total = read(folder)
    assert count == PLAYED == open_dataset(folder).experiences
    assert total == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("read", READERS)
def test_a_folder_is_one_table_while_it_is_written(read: Callable[[Path], tuple[int, float]], tmp_path: Path) -> None:
    with ExperienceRecorder(make_vec(2, **ENGLISH), DatasetWriter(tmp_path / "set", format="parquet", max_file_bytes=1)) as env:
        env.reset(seed=1)
        env.play(10, ("random", "random"))  # files, of which no index tells yet
        env.flush()
        env.play(5, ("random", "random"))
        assert read(tmp_path / "set")[0] == sum(len(batch) for batch in open_dataset(tmp_path / "set")) > 0


@pytest.mark.parametrize("read", READERS)
def test_a_folder_of_an_earlier_version_is_a_table_once_it_was_repaired(
    read: Callable[[Path], tuple[int, float]], tmp_path: Path
) -> None:
    folder = as_before(recorded(tmp_path / "set"))
    assert repair_dataset(folder).ok
    assert list(folder.rglob("_index.json")) == []
    assert read(folder)[0] == PLAYED
    assert open_dataset(folder).experiences == PLAYED


# --- Folders of earlier versions --------------------------------------------------------------------------------------


def as_before(folder: Path) -> Path:
    """Put the indexes of a folder where earlier versions had them: as text, for files of all formats."""
    import pyarrow.parquet as pq

    for path in folder.rglob(".index.parquet"):
        body = json.loads(pq.read_schema(path).metadata[b"generals_env.index"])
        del body["checksum"]
        text = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
        path.with_name("_index.json").write_text(json.dumps({**body, "checksum": zlib.crc32(text)}, indent=1))
        path.unlink()
    for path in folder.rglob(".*.lock"):
        path.unlink()
    return folder


def test_a_folder_of_an_earlier_version_is_read_and_checked(tmp_path: Path) -> None:
    folder = as_before(recorded(tmp_path / "set"))
    dataset = open_dataset(folder)
    assert dataset.experiences == PLAYED
    assert dataset.index_damages == ()
    assert dataset.take([3, 70]).turn.tolist() == [int(batch_at(folder, place).turn[0]) for place in (3, 70)]
    report = verify_dataset(folder)
    assert (report.ok, report.unindexed, report.experiences) == (True, [], PLAYED)
    one = next(folder.rglob("part_*"))
    assert open_dataset(one).experiences == len(parquet.decode(one.read_bytes()))
    one.unlink()
    assert [damage.place for damage in verify_dataset(folder).damages] == [str(one)]
    [path] = folder.rglob("_index.json")
    path.write_text("{}")
    assert [damage.place for damage in verify_dataset(folder).damages] == [str(path)]


def batch_at(folder: Path, place: int) -> ExperienceBatch:
    """Return one experience by its place among all."""
    return ExperienceBatch.concat(list(open_dataset(folder))).select(np.array([place]))


@pytest.mark.parametrize("form", ["parquet", "npz"])
def test_a_folder_of_an_earlier_version_is_appended_to(form: str, tmp_path: Path) -> None:
    folder = as_before(recorded(tmp_path / "set"))
    batches = list(open_dataset(folder))
    with DatasetWriter(folder, form) as writer:
        for batch in batches:
            writer.write(batch)
    dataset = open_dataset(folder)
    assert dataset.experiences == 2 * PLAYED
    report = verify_dataset(folder)
    assert (report.ok, report.unindexed) == (True, [])
    if len({Path(file.place).parent for file in dataset.files}) == 1:  # the hour may have changed meanwhile
        assert len(list(folder.rglob(".index.parquet"))) == 1
        assert len(list(folder.rglob("_index.json"))) == (form == "npz")


def test_old_files_and_their_entries_go_in_both_layouts(tmp_path: Path) -> None:
    for folder in (recorded(tmp_path / "new"), as_before(recorded(tmp_path / "old"))):
        batches = list(open_dataset(folder))
        with DatasetWriter(folder, "parquet", keep_bytes=1, archive=tmp_path / f"{folder.name} archive") as writer:
            writer.write(batches[0])
        assert writer.stats().archived == len(batches) + 1
        assert list(folder.rglob("*index*")) == [path for path in folder.rglob("*index*") if path.suffix == ".lock"]
        kept = open_dataset(tmp_path / f"{folder.name} archive")
        assert kept.experiences == PLAYED + len(batches[0])
        assert verify_dataset(tmp_path / f"{folder.name} archive").unindexed == []


def test_an_index_in_a_parquet_file_that_is_damaged_is_told_and_made_anew(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "set")
    [path] = folder.rglob(".index.parquet")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        report = verify_dataset(folder)
        assert [damage.place for damage in report.damages] == [str(path)] * (not report.ok)
        assert open_dataset(folder).experiences in (None, PLAYED)
        told += not report.ok
    assert told > 100  # not all bytes of a Parquet file say something
    path.write_bytes(whole[: len(whole) // 2])
    assert not repair_dataset(folder).ok
    assert verify_dataset(folder).ok
    assert open_dataset(folder).experiences == PLAYED


# --- Hugging Face -----------------------------------------------------------------------------------------------------


def shown_otherwise(place: Path) -> Path:
    """Record observations that a wrapper of others has changed, which lie in the files as arrays."""

    class Halved(gymnasium.vector.VectorObservationWrapper):
        def observations(self, observations: Any) -> Any:
            return {**observations, "observation": observations["observation"] / 2}

    with ExperienceRecorder(Halved(make_vec(2, autoreset_mode="Disabled", **{**ENGLISH, "max_turns": 30})), place) as env:
        env.reset(seed=1)
        for _ in range(30):
            env.step(np.zeros((2, 2), np.int64))
    return place


@pytest.mark.parametrize("record", [recorded, shown_otherwise])
@pytest.mark.parametrize("form", ["torch", "numpy"])
def test_every_row_and_column_goes_through_the_formats_of_datasets(
    form: str, record: Callable[[Path], Path], tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("torch")
    dataset = open_dataset(record(tmp_path / "set"))
    to_hugging_face(dataset, tmp_path / "card")
    table = datasets.load_dataset(str(tmp_path / "card"), cache_dir=str(tmp_path / "cache"))["train"].with_format(form)
    times = np.concatenate([batch.collected_at for batch in dataset])
    assert len(table) == len(times) == PLAYED
    assert np.array_equal(np.asarray(table[:]["collected_at"]), times)
    for row in range(len(table)):
        assert set(table[row]) == set(table.column_names)
    assert "| `collected_at` | int64 | when, in nanoseconds since 1970, UTC |" in (tmp_path / "card" / "README.md").read_text()
    again = open_dataset(tmp_path / "card")
    assert np.array_equal(np.concatenate([batch.collected_at for batch in again]), times)


# --- Minari -----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Minari keep its datasets in the folder of the test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def exported(batches: Any, **options: Any) -> Any:
    """Return the dataset of Minari that is made of batches."""
    minari = pytest.importorskip("minari")
    to_minari(batches, "generals/test-v0", **options)
    return minari.load_dataset("generals/test-v0")


def check_environment(dataset: Any, **options: Any) -> Any:
    """Return the environment of a dataset, after a look at whether it is one of the same kind that can be played."""
    env = dataset.recover_environment(**options)
    assert env.spec.id == "generals_env/Generals-v0"
    assert env.observation_space == dataset.observation_space
    assert env.action_space == dataset.action_space
    env.reset(seed=1)
    observation, *_ = env.step(env.action_space.n - 1)
    assert dataset.observation_space.contains(observation)
    return env.unwrapped


def test_an_exported_dataset_recovers_its_environment(tmp_path: Path) -> None:
    options = {"rules": "v15", "observation": "full", "fog": False, "mountain_density": 0.1, "modifiers": ("torus",)}
    env = check_environment(exported(open_dataset(recorded(tmp_path / "set", **options))))
    assert (env.config.players, env.config.shape, env.config.max_turns) == (2, (6, 7), 20)
    assert {name: getattr(env.config, name) for name in options} == options
    assert env.games.opponent == "random"


def test_an_exported_dataset_keeps_teams_maps_and_ranges(tmp_path: Path) -> None:
    recordings = {
        "teams": {"players": 3, "teams": (0, 1, 1), "height": (5, 6), "width": 8},
        "map": {"map": "\n".join(["A . . . .", ". . . # .", ". . . . .", ". . . . B"]), "height": 4, "width": 5},
    }
    for name, options in recordings.items():
        shutil.rmtree(tmp_path / "minari", ignore_errors=True)
        env = check_environment(exported(open_dataset(recorded(tmp_path / name, **options))))
        assert {key: getattr(env.config, key) for key in options} == options


def test_an_exported_dataset_recovers_seat_opponent_reward_and_wrappers(tmp_path: Path) -> None:
    reward = RewardConfig(territory_gained=0.5)
    games = GeneralsSingleVector(2, "random", player=1, reward=reward, **ENGLISH)
    env = PotentialShaping(FrameStack(FogMemory(games), 3), 0.9, army=0.25)
    with ExperienceRecorder(env, tmp_path / "set") as recorder:
        observations, _ = recorder.reset(seed=1)
        for _ in range(40):
            actions = [np.flatnonzero(mask)[0] for mask in observations["action_mask"]]
            observations, *_ = recorder.step(np.array(actions))
    dataset = exported(open_dataset(tmp_path / "set"))
    spec = dataset.env_spec
    assert spec.kwargs["reward"]["territory_gained"] == 0.5
    assert RewardConfig(**spec.kwargs["reward"]) == reward
    assert (spec.kwargs["player"], spec.kwargs["opponent"]) == (1, "random")
    assert [wrapper.name for wrapper in spec.additional_wrappers] == ["FogMemory", "FrameStack", "PotentialShaping"]
    assert spec.additional_wrappers[2].kwargs == {"gamma": pytest.approx(0.9), "land": 0, "army": 0.25, "cities": 0}
    recovered = check_environment(dataset)
    assert recovered.config.reward == reward


def test_recordings_that_differ_recover_what_they_have_in_common(tmp_path: Path) -> None:
    one = open_dataset(recorded(tmp_path / "one", max_turns=9, rules="v10"))
    other = open_dataset(recorded(tmp_path / "other", max_turns=8, rules="v10", height=5))
    env = check_environment(exported([*one, *other], shape=(8, 7)))
    assert (env.config.rules, env.config.max_turns) == ("v10", 1000)
    assert (env.config.height, env.config.width) == ((5, 8), 7)


def test_games_of_people_recover_an_environment_of_their_size(tmp_path: Path) -> None:
    record_replays([DATA / "B5--zeFUe.json.gz"], tmp_path / "people")
    dataset = exported(open_dataset(tmp_path / "people"))
    env = check_environment(dataset)
    assert env.config.players == next(iter(open_dataset(tmp_path / "people"))).players
    assert env.config.shape == (23, 23)


def test_there_is_no_environment_where_others_wrappers_changed_observations(tmp_path: Path) -> None:
    dataset = exported(open_dataset(shown_otherwise(tmp_path / "set")))
    assert dataset.env_spec is None
