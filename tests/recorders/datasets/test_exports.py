"""Tests exports to Minari and Hugging Face, read with their own libraries."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import same
from support.recorded import cut, facts, games_of, interleaved

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.datasets.export_hugging_face import to_hugging_face
from generals_env.recorders.datasets.export_minari import MinariExport, to_minari
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.formats import parquet

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the library is loaded

datasets = pytest.importorskip("datasets")
minari = pytest.importorskip("minari")


@pytest.fixture(autouse=True)
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where Minari keeps its datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def course(games: list[ExperienceBatch], name: str, player: int) -> ExperienceBatch:
    """Return one player's experience of one game."""
    game = next(game for game in games if game.game_ids == (name,))
    return game.select(game.player_id == player)


def told(dataset: Any) -> list[dict[str, Any]]:
    """Return the facts of each episode."""
    return list(dataset.storage.get_episode_metadata(dataset.episode_indices))


def check_episodes(dataset: Any, games: list[ExperienceBatch]) -> None:
    """Check that all episodes equal the games bit for bit."""
    for episode, about in zip(dataset.iterate_episodes(), told(dataset), strict=True):
        expected = course(games, about["game_id"], about["player_id"])
        assert about["total_steps"] == len(expected)
        assert expected.turn.tolist() == list(range(len(expected)))
        for name, before, after in (
            ("observation", expected.states(), expected.next_states()),
            ("action_mask", expected.action_masks(), expected.next_action_masks()),
        ):
            assert same(episode.observations[name], np.concatenate([before, after[-1:]]))
        assert same(np.asarray(episode.actions), expected.action.astype(np.int64))
        assert same(np.asarray(episode.rewards), expected.rewards())
        assert np.asarray(episode.terminations).tolist() == expected.terminated.tolist()
        assert np.asarray(episode.truncations).tolist() == expected.truncated.tolist()
        assert dataset.observation_space.contains({name: seen[0] for name, seen in episode.observations.items()})
        assert all(dataset.action_space.contains(action) for action in episode.actions)


def whole(game: ExperienceBatch, player: int) -> bool:
    """Return whether a player's game was played to its end."""
    rows = game.select(game.player_id == player)
    return len(rows) > 0 and bool(rows.terminated[-1] | rows.truncated[-1])


# --- Minari -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["two players", "padded torus", "frames", "memory", "one seat"])
def test_minari_reads_every_whole_trajectory_bit_for_bit(kind: str) -> None:
    games = games_of(kind)[:4]
    shape = tuple(max(game.shape[axis] for game in games) for axis in (0, 1))
    games = [game.padded(*shape) for game in games]
    seats = [(game.game_ids[0], int(player)) for game in games for player in np.unique(game.player_id)]
    ended = {(name, player) for name, player in seats if whole(next(g for g in games if g.game_ids == (name,)), player)}
    if not ended:
        with pytest.raises(ConfigError, match=rf"^batches: expected a whole episode, got parts of {len(seats)}: record"):
            to_minari(games, "generals/test-v0")
        return
    parts = interleaved(np.random.default_rng(1), games)
    result = to_minari(parts, "generals/test-v0", shape=shape, author="me", description="Some games.")
    dataset = minari.load_dataset("generals/test-v0")
    assert {(about["game_id"], about["player_id"]) for about in told(dataset)} == ended
    assert len(dataset) == len(ended)
    assert dataset.total_steps == result.steps
    assert result == MinariExport(len(ended), result.steps, len(seats) - len(ended))
    check_episodes(dataset, games)


def test_minari_lists_samples_and_describes_the_dataset() -> None:
    games = games_of("two players")[:3]
    to_minari(
        games,
        "generals/random-v3",
        author="me",
        author_email="me@example.org",
        description="Some games.",
        algorithm_name="random",
        code_permalink="https://example.org",
    )
    (name, metadata), *others = minari.list_local_datasets().items()
    assert (name, others) == ("generals/random-v3", [])
    assert (metadata["author"], metadata["author_email"]) == (["me"], ["me@example.org"])
    assert (metadata["description"], metadata["algorithm_name"]) == ("Some games.", "random")
    assert metadata["code_permalink"] == "https://example.org"
    dataset = minari.load_dataset(name)
    dataset.set_seed(1)
    (episode,) = dataset.sample_episodes(1)
    assert episode.observations["observation"].shape == (len(episode) + 1, 9, 6, 7)
    assert same(episode.rewards, dataset[episode.id].rewards)
    to_minari(games, "generals/random-v4")
    assert sorted(minari.list_local_datasets()) == ["generals/random-v3", "generals/random-v4"]


def test_trajectories_with_gaps_are_left_out_and_repeats_count_once() -> None:
    games = games_of("two players")[:3]
    holed = games[0].select(games[0].turn != 5)
    unfinished = games[1].slice(0, len(games[1]) - 2)
    late = games[2].select((games[2].player_id == 0) | (games[2].turn > 0))
    result = to_minari([holed, unfinished, late, late.slice(0, 9)], "test-v0")
    assert result == MinariExport(1, len(games[2]) // 2, 5)
    check_episodes(minari.load_dataset("test-v0"), games)
    missing = games[0].select(games[0].turn == 5)
    again = to_minari([games[0].slice(40, len(games[0])), holed, missing, games[0]], "test-v1")
    assert again == MinariExport(2, len(games[0]), 0)
    check_episodes(minari.load_dataset("test-v1"), games)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float16", ">i2"])
def test_observations_of_foreign_wrappers_are_kept(kind: str) -> None:
    game = games_of("two players")[0]
    seen = np.random.default_rng(1).integers(0, 256, (len(game) + 2, 33, 34, 3)).astype(kind)
    places = np.arange(len(game), dtype=np.int32)
    game = replace(game, dense=Dense(seen, places, places + 2))
    to_minari([game], "test-v0")
    dataset = minari.load_dataset("test-v0")
    for episode, about in zip(dataset, told(dataset), strict=True):
        expected = course([game], game.game_ids[0], about["player_id"])
        native = np.concatenate([expected.states(), expected.next_states()[-1:]]).astype(seen.dtype.newbyteorder("="))
        assert same(episode.observations["observation"], native)


def test_failed_minari_export_leaves_nothing(minari_root: Path) -> None:
    games = games_of("two players")[:2]

    def breaks() -> Iterator[ExperienceBatch]:
        yield games[0]
        raise RuntimeError("a disk on fire")

    with pytest.raises(RuntimeError, match="a disk on fire"):
        to_minari(breaks(), "test-v0")
    other = games_of("teams")[0]
    with pytest.raises(ConfigError, match=r"^batches: expected 2 players, .* got 4 players"):
        to_minari([games[0], other.padded(7, 7)], "test-v0", shape=(7, 7))
    with pytest.raises(ConfigError, match=r"^shape: expected at least 6x7, got 5x5"):
        to_minari(games, "test-v0", shape=(5, 5))
    with pytest.raises(ConfigError, match=r"^batches: expected experiences of one turn, got some of 3"):
        to_minari([games[0].n_step(3, 0.9)], "test-v0")
    words = Dense(np.full(9, "word"), *(np.zeros(len(games[0]), np.int32) for _ in range(2)))
    with pytest.raises(ConfigError, match=r"^batches: expected observations that are numbers, got <U4"):
        to_minari([replace(games[0], dense=words)], "test-v0")
    assert list(minari_root.rglob("*")) == []
    to_minari(games[:1], "test-v0")
    with pytest.raises(StorageError, match=r"^dataset_id: expected a new one, got"):
        to_minari(games, "test-v0")
    assert minari.load_dataset("test-v0").total_episodes == 2
    (minari_root / "file").touch()
    with pytest.raises(StorageError, match=r"^dataset_id: expected to write to '.*file.test-v0', got"):
        to_minari(games, "file/test-v0")


@pytest.mark.parametrize("dataset_id", ["", "no version", "any", "../up-v0", "/root-v0", 5, None])
def test_invalid_minari_ids_are_refused(dataset_id: Any) -> None:
    with pytest.raises(ConfigError, match=r"^dataset_id: expected a name like generals/random-v0, got"):
        to_minari(games_of("two players"), dataset_id)


@pytest.mark.parametrize("call", [to_minari, to_hugging_face])
def test_empty_export_is_refused(call: Any, tmp_path: Path) -> None:
    for nothing in ([], [games_of("two players")[0].slice(0, 0)]):
        with pytest.raises(ConfigError, match=r"^batches: expected experience, got none: pass at least one"):
            call(nothing, "test-v0" if call is to_minari else tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


# --- Hugging Face -----------------------------------------------------------------------------------------------------


def loaded(folder: Path, cache: Path) -> Any:
    """Return the dataset in a folder as the library of Hugging Face loads it."""
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))


@pytest.mark.parametrize("kind", ["two players", "padded torus", "memory"])
def test_hugging_face_loads_all_rows_and_decode_gives_all_tensors(tmp_path: Path, kind: str) -> None:
    games = games_of(kind)[:4]
    shape = tuple(max(game.shape[axis] for game in games) for axis in (0, 1))
    together = ExperienceBatch.concat([game.padded(*shape) for game in games])
    parts = [part for game in games for part in cut(game, 50)]
    folder = tmp_path / "experience"
    assert to_hugging_face(parts, folder, shape=shape, file_bytes=together.nbytes // 3) == len(together)
    files = sorted((folder / "data").iterdir())
    assert len(files) > 1
    assert facts(ExperienceBatch.concat([parquet.decode(file.read_bytes()) for file in files])) == facts(together)
    rows = loaded(folder, tmp_path / "cache")
    assert len(rows) == len(together)
    for name in ("turn", "sequence", "action", "reward", "player_id", "terminated", "truncated", "illegal", "steps"):
        assert rows[name][:] == getattr(together, name).tolist()
    assert rows["game_id"][:] == together.game_id.tolist()


def test_dataset_card_lists_all_columns_of_every_kind(tmp_path: Path) -> None:
    game = games_of("two players")[0]
    dense = Dense(np.zeros((3, 5), np.uint8), *(np.ones(len(game), np.int32) for _ in range(2)))
    for number, batch in enumerate((game, replace(game, dense=dense))):
        folder = tmp_path / f"folder {number}"
        to_hugging_face(
            [batch], folder, name='A "name": ü', license_id="cc-by-4.0", tags=["one", "two: three"], description="Any."
        )
        text = (folder / "README.md").read_text(encoding="utf-8")
        data = datasets.load_dataset_builder(str(folder), cache_dir=str(tmp_path / "cache"))
        assert data.config.name == "default"
        columns = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
        assert columns == loaded(folder, tmp_path / "cache").column_names
        assert ("observations" in columns) == (batch.dense is not None)
        head = dict(line.split(": ", 1) for line in text.split("---\n")[1].splitlines())
        assert json.loads(head["pretty_name"]) == 'A "name": ü'
        assert (json.loads(head["license"]), json.loads(head["tags"])) == ("cc-by-4.0", ["one", "two: three"])
        assert '# A "name": ü\n\nAny.\n' in text
        code = text.split("```python\n")[1].split("```")[0]
        assert "decode(Path(" in code
    to_hugging_face([game], tmp_path / "plain")
    text = (tmp_path / "plain" / "README.md").read_text(encoding="utf-8")
    assert "# plain\n" in text
    assert "license" not in text


def test_dataset_card_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = games_of("two players")[0]
    to_hugging_face([game], tmp_path / "folder")
    monkeypatch.chdir(tmp_path / "folder")
    scope: dict[str, Any] = {}
    exec(Path("README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0], scope)
    assert facts(scope["batch"]) == facts(game)


def test_failed_hugging_face_export_leaves_nothing(tmp_path: Path) -> None:
    games = games_of("two players")[:2]
    folder = tmp_path / "folder"

    def breaks() -> Iterator[ExperienceBatch]:
        yield from games
        raise RuntimeError("a disk on fire")

    with pytest.raises(RuntimeError, match="a disk on fire"):
        to_hugging_face(breaks(), folder, file_bytes=1)
    with pytest.raises(ConfigError, match=r"^batches: expected 2 players, .* got 2 players"):
        to_hugging_face([games[0], games_of("memory")[0]], folder)
    with pytest.raises(ConfigError, match=r"^metadata: expected what JSON takes"):
        to_hugging_face([games[0], replace(games[1], metadata={"any": {1}})], folder, file_bytes=1)
    assert list(tmp_path.iterdir()) == []
    to_hugging_face(games[:1], folder)
    with pytest.raises(StorageError, match=r"^folder: expected a new one, got"):
        to_hugging_face(games, folder)
    assert len(parquet.decode((folder / "data" / "train-00000.parquet").read_bytes())) == len(games[0])
    with pytest.raises(StorageError, match=r"^folder: expected to write to .*, got"):
        to_hugging_face(games, folder / "README.md" / "below")
