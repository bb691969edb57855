"""Tests that single games are found in datasets, logs and batches, with actions, rewards and players who left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.helpers import same
from support.replay_fields import read_fields

from generals_env import ReplayError, StorageError, replay
from generals_env.recorders import ExperienceBatch, ExperienceLog, open_dataset
from generals_env.recorders.datasets.recorded_games import game_ids, game_of_batch, load_game
from generals_env.recorders.people.human_replays import record_sources
from generals_env.recorders.people.replay_sources import ReplaySource
from generals_env.replay.recorded_game import UNKNOWN

NAMES = ("duel_small", "three", "teams")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset with three games."""
    place = tmp_path_factory.mktemp("games") / "set"
    games = [replay.from_dict(read_fields(name) | {"id": name}) for name in NAMES]
    record_sources([ReplaySource(game.id, game.id, lambda game=game: game) for game in games], place)  # type: ignore[misc]
    return place


@pytest.mark.parametrize("name", NAMES)
def test_game_of_a_dataset_equals_its_replay(name: str, folder: Path) -> None:
    assert sorted(game_ids(folder)) == sorted(NAMES)
    found, wanted = load_game(folder, name), replay.from_dict(read_fields(name)).recorded()
    assert same([found.boards, found.actions, found.events], [wanted.boards, wanted.actions, wanted.events])
    assert same(found.rewards, wanted.rewards)
    assert found.id == name


def test_game_in_pieces_of_a_log_is_whole(folder: Path, tmp_path: Path) -> None:
    with ExperienceLog(tmp_path / "log", "normal") as log:
        for batch in open_dataset(folder).batches(37).filter(game_ids=["three"]):
            log.write(batch)
    assert same(load_game(tmp_path / "log").boards, load_game(folder, "three").boards)


def test_players_that_were_not_recorded_have_unknown_actions(folder: Path) -> None:
    batch = ExperienceBatch.concat(list(open_dataset(folder).filter(game_ids=["duel_small"], player_ids=[1])))
    game = game_of_batch(batch)
    assert (game.actions[:, 0] == UNKNOWN).all()
    assert not (game.actions[:, 1] == UNKNOWN).any()
    assert game.rewards is not None
    assert np.isnan(game.rewards[:, 0]).all()


def test_missing_games_and_turns_are_refused(folder: Path) -> None:
    with pytest.raises(StorageError, match=r"game: expected the id of a game in .*such as .*, got 'none'"):
        load_game(folder, "none")
    batch = ExperienceBatch.concat(list(open_dataset(folder).filter(game_ids=["duel_small"])))
    with pytest.raises(StorageError, match="game: expected the id of a game of the batch, got 'none'"):
        game_of_batch(batch, "none")
    with pytest.raises(ReplayError, match="expected all turns, got 1 missing ones, the first is 5: read all its files"):
        game_of_batch(batch.select(batch.turn != 5))
    with pytest.raises(ReplayError, match="expected experiences of one turn, got several turns: use them before n_step"):
        game_of_batch(batch.n_step(3, 0.9))
