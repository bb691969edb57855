"""Tests that replays and recorded games are written as ``.gior`` files: unchanged, and as the live game compresses them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lzstring import LZString
from support.ground_truth import found, load
from support.helpers import move, same
from support.replay_fields import GAMES, read_fields

import generals_env
from generals_env import ConfigError, ReplayError, replay
from generals_env.engine.boards import COMPETITION_VERSION
from generals_env.engine.text_codes import compress_units, write_moves
from generals_env.recorders import ExperienceRecorder
from generals_env.recorders.datasets.recorded_games import load_game
from generals_env.replay import gior
from generals_env.replay.fields import POSITIONS, UNREAD
from generals_env.replay.file_text import parse
from generals_env.replay.reader import from_bytes
from generals_env.replay.recorded_game import UNKNOWN, RecordedGame

NAMES = POSITIONS | UNREAD


def packed(text: str) -> bytes:
    """Return a text as pieroxy's ``compressToUint8Array`` does."""
    return b"".join(ord(unit).to_bytes(2, "big") for unit in LZString().compress(text))


def units(text: str) -> np.ndarray:
    """Return the code units of a text."""
    return np.frombuffer(text.encode("utf-16-le"), np.uint16)


def check_round_trip(fields: dict[str, Any]) -> None:
    """Write a replay, read it, and write it again; compare all fields, moves and bytes."""
    first = replay.from_dict(fields)
    data = gior.encode(first)
    written = parse(data, 10**8)
    for position, name in NAMES.items():
        if name in fields:
            assert (name, written[position]) == (name, fields[name])
    again = from_bytes(data)
    assert same([again.moves, again.events, again.start], [first.moves, first.events, first.start])
    assert gior.encode(again) == data


def recorded_duel(folder: Path, turns: int = 60, **options: Any) -> RecordedGame:
    """Return a game of random moves, recorded in a dataset."""
    env = ExperienceRecorder(
        generals_env.parallel_env(**({"players": 2, "height": 6, "width": 7, "max_turns": turns} | options)), folder
    )
    rng = np.random.default_rng(2)
    views, _ = env.reset(seed=5)
    while env.agents:
        legal = {agent: np.flatnonzero(view["action_mask"]) for agent, view in views.items()}
        views, *_ = env.step({agent: int(rng.choice(actions)) for agent, actions in legal.items() if agent in env.agents})
    env.close()
    return load_game(folder)


# --- Compression --------------------------------------------------------------------------------------------------


def test_text_is_compressed_as_lz_string_does() -> None:
    rng = random.Random(3)
    texts = ["", "a", "aa", "abab", "\x00\x00a", "é漢漢字", "[1,2,3]" * 300]
    texts += ["".join(rng.choices("012,[]é漢"[: rng.randint(1, 9)], k=rng.randint(0, 300))) for _ in range(40)]
    texts.append("".join(chr(rng.randint(1, 5000)) for _ in range(600)))
    for text in texts:
        assert (text, compress_units(units(text)).tobytes()) == (text, packed(text))


def test_moves_are_written_as_json_without_spaces() -> None:
    moves = np.array([[0, 0, 10, 1, 59999], [15, 16383, 9, 0, 100]], np.int32)
    for rows in (moves, moves[:0], moves[:1]):
        assert write_moves(rows).tobytes().decode("utf-16-le") == json.dumps(rows.tolist(), separators=(",", ":"))


# --- Replays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_replay_goes_in_out_and_in_again_unchanged(name: str) -> None:
    check_round_trip(read_fields(name))


@pytest.mark.parametrize("file", [*found("replays/*.json.gz"), *found("synthetic/*.json.gz"), *found("packs_1v1/*.json.gz")])
def test_replays_of_the_ground_truth_stay_unchanged(file: Path) -> None:
    games = load(file)
    for game in [games] if isinstance(games, dict) else games:
        check_round_trip(game.get("replay", game))


@pytest.mark.parametrize("file", found("gior/*.gior"))
def test_file_of_the_live_game_is_written_byte_for_byte(file: Path) -> None:
    assert gior.encode(replay.read(file)) == file.read_bytes()


def test_unread_and_unknown_positions_are_kept() -> None:
    fields = [read_fields("duel").get(NAMES.get(position, "")) for position in range(40)]
    fields[4], fields[5], fields[17], fields[38] = ["a\U0001f600", "b"], [70.5, 3], [["hi", None, 0, 3]], {"newer": [1, None]}
    game = replay.from_dict(fields)
    assert (game.names, game.stars) == (("a\U0001f600", "b"), (70.5, 3.0))
    assert parse(gior.encode(game), 10**6) == [
        value if position not in (10, 11) else (value or []) for position, value in enumerate(fields)
    ]


def test_field_that_json_cannot_hold_is_refused() -> None:
    game = replay.from_dict(read_fields("duel") | {"chat": [object()]})
    with pytest.raises(ReplayError, match="replay: expected fields that JSON can hold"):
        gior.encode(game)


# --- Recorded games -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GAMES)
def test_recorded_game_and_its_replay_have_equal_moves(name: str) -> None:
    first = replay.from_dict(read_fields(name))
    game = first.recorded()
    again = gior.replay_of(game)
    assert again.version == first.version
    played = from_bytes(gior.encode(again)).recorded()
    turns = min(game.turns, played.turns)
    assert same(game.actions[:turns], played.actions[:turns])
    assert (game.actions[turns:] == 8 * game.boards.owner.shape[1]).all()
    assert same(
        [game.boards.owner[: turns + 1], game.boards.army[: turns + 1], game.names],
        [played.boards.owner[: turns + 1], played.boards.army[: turns + 1], played.names],
    )


@pytest.mark.parametrize("options", [{}, {"players": 3, "height": (5, 6), "width": (5, 7)}])
def test_live_game_is_a_replay_of_version_18(options: dict[str, Any], tmp_path: Path) -> None:
    game = recorded_duel(tmp_path / "games", **options)
    path = tmp_path / "game.gior"
    replay.write(path, game)
    again = replay.read(path)
    assert again.version == 18
    assert (again.height, again.width) == (game.boards.games["rows"][0], game.boards.games["columns"][0])
    played = again.recorded()
    turns = min(game.turns, played.turns)
    owner = game.boards.owner.reshape(-1, *game.boards.games[["height", "width"]][0])[
        : turns + 1, : again.height, : again.width
    ]
    assert same(owner.reshape(turns + 1, -1), played.boards.owner[: turns + 1])


def test_surrender_in_an_environment_is_in_the_replay_with_its_end(tmp_path: Path) -> None:
    env = ExperienceRecorder(generals_env.parallel_env(map="A....\n.....\n..C..\n.....\n....B", max_turns=80), tmp_path)
    env.reset(seed=1)
    for turn in range(80):
        if turn == 10:
            env.unwrapped.surrender("player_1")
        if turn == 3:
            assert move(env, "A00r")[0] == "player_0"
        env.step({agent: env.action_space(agent).n - 1 for agent in env.agents})
    env.close()
    game = load_game(tmp_path)
    assert game.events.tolist() == [[1, 10, 1]]
    assert gior.replay_of(game).events.tolist() == [[1, 10], [1, 60]]


def changed(game: RecordedGame, **fields: Any) -> RecordedGame:
    """Return a game whose boards have other fields."""
    boards = game.boards._replace(**{name: array.copy() for name, array in game.boards._asdict().items()})
    for name, value in fields.items():
        if name == "army":
            boards.army[0, boards.players["general"][0, 0]] = value
        elif name == "moved":
            boards.army[value:] += 1
        else:
            boards.games[name] = value
    return replace(game, boards=boards)


def test_game_that_the_live_game_cannot_hold_is_refused(tmp_path: Path) -> None:
    game = replay.from_dict(read_fields("duel")).recorded()
    unknown = game.actions.copy()
    unknown[7, 1] = UNKNOWN
    for other, text in (
        (changed(game, version=COMPETITION_VERSION), "rules: expected those of a replay version, got those of the competition"),
        (replace(game, actions=unknown), "actions: expected all of them, got an unknown one in turn 7"),
        (changed(game, turn=5), "boards: expected the first one at turn 0, got turn 5"),
        (changed(game, army=9), "boards: expected generals with an army of 1 at turn 0, got 9"),
        (changed(game, moved=20), "boards: expected those that the actions lead to, got another one at turn 20"),
    ):
        with pytest.raises(ReplayError) as caught:
            replay.write(tmp_path / "game.gior", other)
        assert str(caught.value).startswith(text)
        assert ".generals file" in str(caught.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"path: expected a file that ends in .gior or .generals, got 'game.txt'"):
        replay.write(tmp_path / "game.txt", game)
