"""Tests that actions are inferred from boards alone, and that records of boards are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.competition_traces import action_indices, first_board, read_file
from support.helpers import same
from support.replay_fields import read_fields

from generals_env import ReplayError, replay
from generals_env.engine.boards import Boards, copy_boards
from generals_env.replay.recorded_game import UNKNOWN, RecordedGame
from generals_env.replay.resimulation import play_actions


def first(game: RecordedGame) -> Boards:
    """Return the first board of a game."""
    return copy_boards(game.boards, slice(1))


def check_inferred(game: RecordedGame, share: float) -> None:
    """Infer the actions of a game: they lead to its boards, and at least a share of them are those that were made."""
    inferred = replay.infer_actions(first(game), game.boards.owner, game.boards.army)
    assert inferred.unexplained.tolist() == []
    played = play_actions(first(game), inferred.game.actions, inferred.game.events)
    assert same([played.owner, played.army], [game.boards.owner, game.boards.army])
    assert (inferred.game.actions == game.actions).mean() >= share
    differs = np.flatnonzero((inferred.game.actions != game.actions).any(axis=1))
    assert len(np.setdiff1d(differs, inferred.ambiguous)) <= len(game.actions) // 30


@pytest.mark.parametrize(("name", "share"), [("duel_small", 0.9), ("three", 0.9), ("teams", 0.85), ("torus", 0.85)])
def test_actions_are_inferred_from_boards(name: str, share: float) -> None:
    check_inferred(replay.from_dict(read_fields(name)).recorded(), share)


def test_actions_of_the_competition_are_inferred_with_its_castles() -> None:
    built = 0
    for trace in read_file("duel_00.json.gz")[:20]:
        actions, start = action_indices(trace), first_board(trace)
        boards = play_actions(start, actions, np.empty((0, 3), np.int32))
        inferred = replay.infer_actions(start, boards.owner, boards.army)
        assert inferred.unexplained.tolist() == []
        again = play_actions(start, inferred.game.actions, inferred.game.events)
        assert same([again.owner, again.army], [boards.owner, boards.army])
        built += int((inferred.game.actions > 8 * boards.owner.shape[1]).sum())
    assert built


def test_board_that_no_action_explains_is_reported_and_kept() -> None:
    game = replay.from_dict(read_fields("duel_small")).recorded()
    owner, army = game.boards.owner.copy(), game.boards.army.copy()
    land = int(game.boards.players["general"][0, 0])
    army[20, land] += 7
    inferred = replay.infer_actions(first(game), owner[:30], army[:30])
    assert inferred.unexplained.tolist() == [19, 20]
    assert (inferred.game.actions[19:21] == UNKNOWN).all()
    assert same([inferred.game.boards.owner, inferred.game.boards.army], [owner[:30], army[:30]])
    assert inferred.game.details["unexplained turns"] == "2"


def record_of(game: RecordedGame) -> dict[str, Any]:
    """Return a record of the boards of a game."""
    terrain = game.boards.terrain[0]
    return {
        "id": "boards",
        "mapWidth": int(game.boards.games["width"][0]),
        "mapHeight": int(game.boards.games["height"][0]),
        "generals": game.boards.players["general"][0].tolist(),
        "cities": np.flatnonzero(terrain == 2).tolist(),
        "usernames": ["one", "two"],
        "owner": game.boards.owner.tolist(),
        "army": game.boards.army.tolist(),
    }


def test_record_of_boards_is_read_and_written_as_a_replay(tmp_path: Path) -> None:
    game = replay.from_dict(read_fields("duel_small")).recorded()
    (tmp_path / "boards.json").write_text(json.dumps(record_of(game)))
    loaded = replay.load(tmp_path / "boards.json")
    assert (loaded.id, loaded.names) == ("boards", ("one", "two"))
    assert same([loaded.boards.owner, loaded.boards.army], [game.boards.owner, game.boards.army])
    replay.write(tmp_path / "boards.generals", loaded)
    assert same(replay.load(tmp_path / "boards.generals").boards, loaded.boards)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"army": None}, "army: expected a field of a record of boards, got none"),
        ({"owner": [[0, 1]]}, "owner[0]: expected 49 tiles, got 2"),
        ({"owner": []}, "owner: expected a board for each turn, got none"),
        ({"owner": [[9] * 49]}, "owner[0]: expected a whole number from -6 to 1, got 9"),
        ({"army": [[0] * 49]}, "owner, army: expected boards of 49 tiles"),
        ({"generals": [3, 3]}, "generals: expected 1 to 16 different tiles, got [3, 3]"),
        ({"rules": "v99"}, "rules: expected"),
        ({"teams": [1]}, "teams: expected one for each of 2 players, got 1"),
    ],
)
def test_wrong_record_of_boards_is_refused(change: dict[str, Any], text: str) -> None:
    record = record_of(replay.from_dict(read_fields("duel_small")).recorded())
    with pytest.raises(ReplayError) as caught:
        replay.from_states(record | change)
    assert str(caught.value).startswith(text)
