"""Tests the replay files of this package: any game, to the last bit, in a few hundred bytes; damaged files give one error."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support.competition_traces import action_indices, check_board, first_board, read_file
from support.helpers import same
from support.replay_fields import GAMES, read_fields

from generals_env import ReplayError, StorageError, replay
from generals_env.engine.boards import Boards, copy_boards
from generals_env.replay import board_arrays, game_file, recorded_turns
from generals_env.replay.recorded_game import UNKNOWN, RecordedGame, no_events
from generals_env.replay.resimulation import different_boards, play_actions, play_each

DUEL = replay.from_dict(read_fields("duel_small") | {"usernames": ["one", "two\u202e<b>"], "stars": [70, 1.5]}).recorded()


def assert_equal(one: RecordedGame, other: RecordedGame) -> None:
    """Compare all that the files keep."""
    assert same([one.boards, one.actions, one.events, one.id, one.names], [*fields(other)])
    assert dict(one.details) == dict(other.details)


def fields(game: RecordedGame) -> list[Any]:
    """Return what is compared bit by bit."""
    return [game.boards, game.actions, game.events, game.id, game.names]


@pytest.mark.parametrize("name", GAMES)
def test_game_file_has_every_board_and_action(name: str) -> None:
    game = replay.from_dict(read_fields(name)).recorded()
    data = game_file.encode(game)
    assert_equal(game, game_file.decode(data))
    assert len(data) < 400 + game.actions.size  # boards would be thousands of bytes a turn


def test_boards_of_a_recorded_game_are_those_of_its_turns() -> None:
    first = replay.from_dict(read_fields("eight"))
    game = first.recorded()
    for number, turn in zip(range(game.turns + 1), first.play(), strict=False):
        assert (turn.turn, turn.alive.tolist()) == (number, game.boards.players["alive"][number].tolist())
        assert same([turn.owner.reshape(-1), turn.army.reshape(-1)], [game.boards.owner[number], game.boards.army[number]])


def test_names_details_and_unknown_actions_are_kept(tmp_path: Path) -> None:
    actions = DUEL.actions.copy()
    actions[:, 1] = UNKNOWN
    game = replace(DUEL, actions=actions)
    path = tmp_path / "game.generals"
    replay.write(path, game)
    again = replay.load(path)
    assert_equal(game, again)
    assert again.names == ("one", "two\u202e<b>")
    assert again.details["stars"] == "70, 1.5"
    assert [file.name for file in tmp_path.iterdir()] == ["game.generals"]


def test_boards_that_actions_do_not_lead_to_are_kept() -> None:
    boards = copy_boards(DUEL.boards)
    boards.army[30:, 3] += 5
    boards.players["alive"][50:, 1] = False
    boards.games["last_move"][60:] = 2
    first = boards.games["turn"][0]
    late = replace(DUEL, boards=boards._replace(**{name: array[20:] for name, array in boards._asdict().items()}))
    late = replace(late, actions=DUEL.actions[20:], events=DUEL.events[DUEL.events[:, 1] >= first + 20])
    for game in (
        replace(DUEL, boards=boards),
        late,
        replace(DUEL, boards=copy_boards(boards, slice(1)), actions=DUEL.actions[:0]),
    ):
        assert_equal(game, game_file.decode(game_file.encode(game)))


def test_boards_of_several_games_are_refused() -> None:
    boards = copy_boards(DUEL.boards)
    boards.games["turn"][9:] += 1
    with pytest.raises(ReplayError, match="boards: expected one for each turn, got turn 10 as number 9"):
        game_file.encode(replace(DUEL, boards=boards))
    boards = copy_boards(DUEL.boards)
    boards.games["version"][9:] = 5
    with pytest.raises(ReplayError, match=r"boards: expected one version, got .5, 18.: save each game by itself"):
        game_file.encode(replace(DUEL, boards=boards))
    with pytest.raises(ReplayError, match="actions: expected indices from -1 to"):
        game_file.encode(replace(DUEL, actions=DUEL.actions + 10**6))


def test_file_of_other_rules_or_versions_is_refused() -> None:
    data = game_file.encode(DUEL)
    with pytest.raises(ReplayError, match=r"expected a \.generals file of version 1, got version 2: use a newer generals_env"):
        game_file.decode(data[:4] + b"\x02" + data[5:])
    content = bytearray(game_file.unpacked(data[5:]))
    content[game_file.HEAD.size - 1] ^= 1
    with pytest.raises(ReplayError, match="checksum: expected the last board that was written"):
        game_file.decode(data[:5] + zstandard.compress(bytes(content)))


def test_damaged_game_file_gives_one_error() -> None:
    rng = random.Random(4)
    data = game_file.encode(DUEL)
    content = game_file.unpacked(data[5:])
    for number in range(300):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 8))):
            damaged[rng.randrange(game_file.HEAD.size if number % 2 else len(damaged))] = rng.randrange(256)
        cut = bytes(damaged)[: rng.randrange(len(damaged)) if number % 5 == 0 else None]
        try:
            game_file.decode(data[:5] + zstandard.compress(cut))
        except ReplayError as error:
            assert str(error)  # noqa: PT017 - damage may also give another game
    for number in range(60):
        with pytest.raises(ReplayError):
            game_file.decode(data[: rng.randrange(len(data))] if number % 2 else rng.randbytes(40))


TEXTS = ["[]", "5", "null", '"x"', '{"details":["a"]}', '{"details":"ab"}', '{"names":"ab"}', '{"names":[1,2]}', '{"id":5}']


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:16])
def test_text_of_another_form_in_a_game_file_is_refused(text: str) -> None:
    data = game_file.encode(replace(DUEL, id="", names=(), details={}))
    content = game_file.unpacked(data[5:])
    head = [*game_file.HEAD.unpack_from(content)]
    assert head[-2] == 0
    head[-2] = len(text)
    content = game_file.HEAD.pack(*head) + text.encode() + content[game_file.HEAD.size :]
    with pytest.raises(ReplayError, match=r"expected a whole \.generals file, got a damaged one"):
        game_file.decode(data[:5] + zstandard.compress(content))


def test_names_cut_within_a_character_are_kept() -> None:
    game = replace(DUEL, names=("\ud83d", "b\udfff"))  # the halves of surrogate pairs
    assert game_file.decode(game_file.encode(game)).names == game.names


def test_bomb_in_a_game_file_is_refused_before_it_is_unpacked() -> None:
    start = game_file.encode(DUEL)[:5]
    for frame in (zstandard.compress(bytes(2**27)), zstandard.ZstdCompressor(write_content_size=False).compress(bytes(9))):
        with pytest.raises(ReplayError, match=r"expected a whole \.generals file, got a damaged one"):
            game_file.decode(start + frame)


def test_game_with_too_many_board_tiles_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = game_file.encode(DUEL)
    monkeypatch.setattr(recorded_turns, "MAX_BOARD_TILES", 2000)
    for act in (lambda: game_file.decode(data), lambda: replay.from_dict(read_fields("duel_small")).recorded()):
        with pytest.raises(ReplayError, match="game: expected at most"):
            act()
    assert struct.calcsize("<H") == 2
    assert board_arrays.MAX_TURN >= 50_000


def test_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="path: expected a file that can be written"):
        replay.write(tmp_path / "none" / "game.generals", DUEL)
    (tmp_path / "game.generals").mkdir()
    with pytest.raises(StorageError, match="path: expected a file that can be written"):
        replay.write(tmp_path / "game.generals", DUEL)
    assert [file.name for file in tmp_path.iterdir()] == ["game.generals"]


def test_games_of_the_competition_are_kept_by_their_actions_alone() -> None:
    for trace in read_file("full_00.json.gz")[:1] + read_file("duel_00.json.gz")[:5]:
        actions, start = action_indices(trace), first_board(trace)
        boards = play_actions(start, actions, no_events())
        for number in range(1, len(actions) + 1):
            check_board(trace, number, boards, number)
        game = RecordedGame(boards, actions)
        assert not different_boards(play_each(game), Boards._make(array[1:] for array in boards)).any()
        assert same(game_file.decode(game_file.encode(game)).boards, boards)
