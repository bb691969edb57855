"""Tests encoding and decoding of action indices."""

from __future__ import annotations

import re

import pytest

import generals_env
from generals_env.actions import CLOCKWISE, DIRECTIONS, Build, Move, decode_action, encode_action
from generals_env.errors import ActionError


def test_every_index_survives_decoding_and_encoding() -> None:
    height, width = 5, 7
    moves = [decode_action(index, height, width) for index in range(8 * height * width + 1)]
    assert len(set(moves)) == len(moves)
    assert [encode_action(move, height, width) for move in moves] == list(range(len(moves)))
    assert moves[-1] is None
    assert moves[4 * height * width - 1] == Move(4, 6, 3, False)


def test_engine_decodes_actions_the_same() -> None:
    env = generals_env.parallel_env(map="....B\n.....\n..A..\n.....\n.....")
    for direction, (down, right) in enumerate(DIRECTIONS):
        env.reset()
        wait = encode_action(None, 5, 5)
        for _ in range(2):
            env.step({"player_0": wait, "player_1": wait})
        env.step({"player_0": encode_action(Move(2, 2, direction), 5, 5), "player_1": wait})
        owner = env.state()[0]
        assert owner[2 + down, 2 + right] == 0


def test_clockwise_directions_convert_both_ways() -> None:
    # Up, right, down, left as (rows down, columns right).
    clockwise = ((-1, 0), (0, 1), (1, 0), (0, -1))
    for theirs, step in enumerate(clockwise):
        assert DIRECTIONS[CLOCKWISE[theirs]] == step
        assert CLOCKWISE.index(CLOCKWISE[theirs]) == theirs


def test_invalid_action_is_refused() -> None:
    for move in (Move(5, 0, 0), Move(0, 7, 0), Move(0, 0, 4), Move(-1, 0, 0)):
        with pytest.raises(
            ActionError, match=re.escape(f"move: expected row, column below 5, 7 and direction below 4, got {move}")
        ):
            encode_action(move, 5, 7)
    for index in (-1, 8 * 35 + 1):
        with pytest.raises(ActionError, match=f"action: expected an integer from 0 to 280, got {index}"):
            decode_action(index, 5, 7)


def test_builds_follow_the_pass_in_the_action_space() -> None:
    height, width = 5, 7
    indices = range(9 * height * width + 1)
    decoded = [decode_action(index, height, width, builds=True) for index in indices]
    assert [encode_action(one, height, width) for one in decoded] == list(indices)
    assert decoded[8 * 35] is None
    assert decoded[8 * 35 + 1 :] == [Build(row, column) for row in range(height) for column in range(width)]
    for build in (Build(5, 0), Build(0, 7), Build(-1, 0)):
        with pytest.raises(ActionError, match=re.escape(f"build: expected row, column below 5, 7, got {build}")):
            encode_action(build, height, width)
    with pytest.raises(ActionError, match="action: expected an integer from 0 to 315, got 316"):
        decode_action(316, height, width, builds=True)
