"""Tensors, masks and rewards against those that the original server computed (bit for bit; rewards to 1e-6)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generals_env import RewardConfig
from generals_env.engine.boards import MOUNTAIN, OWNER_MOUNTAIN, Boards, copy_boards, empty_boards
from generals_env.engine.observations import reference as sight
from generals_env.engine.rules.rewards import WEIGHTS, score_turn
from generals_env.engine.rules.turn import is_over


def board_of(state: dict[str, Any]) -> Boards:
    boards = empty_boards(1, state["h"], state["w"], len(state["alive"]))
    boards.terrain[0] = state["type"]
    boards.army[0] = state["army"]
    boards.owner[0] = np.where(boards.terrain[0] == MOUNTAIN, OWNER_MOUNTAIN, state["owner"])
    boards.players["alive"][0] = state["alive"]
    boards.players["general"][0] = state["general_idx"]
    boards.games["turn"] = state["turn"]
    return boards


@pytest.fixture(scope="module")
def transitions(shared: Path) -> list[dict[str, Any]]:
    with gzip.open(shared / "golden" / "transitions.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def players(transitions: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any], Boards, Boards]]:
    for transition in transitions:
        before, after = board_of(transition["prev"]), board_of(transition["curr"])
        for player in transition["players"]:
            yield transition, player, before, after


def test_tensors_equal_the_originals(transitions: list[dict[str, Any]]) -> None:
    compared = 0
    for transition, player, before, after in players(transitions):
        for state, boards, key in ((transition["prev"], before, "state_nz"), (transition["curr"], after, "next_nz")):
            out = np.empty((9, state["h"] * state["w"]), np.float32)
            sight.observe(boards, 0, player["player"], np.array(state["vis"], np.uint32), out)
            expected = np.zeros(out.size, np.float32)
            for index, value in player[key]:
                expected[index] = value
            np.testing.assert_array_equal(out.ravel(), expected)
            compared += 1
    assert compared == 5164


def test_masks_equal_the_originals(transitions: list[dict[str, Any]]) -> None:
    compared = dead = 0
    for transition, player, before, _ in players(transitions):
        expected = player["mask_serializer_order"]
        if expected is None:
            continue
        boards = before
        if not before.players[0, player["player"]]["alive"]:
            # The original gave masks to players that it counted as dead; here they may only pass.
            boards = copy_boards(before)
            boards.players["alive"] = True
            dead += 1
        tiles = transition["prev"]["h"] * transition["prev"]["w"]
        mask = np.empty(8 * tiles + 1, np.int8)
        sight.action_mask(boards, 0, player["player"], mask)
        assert np.flatnonzero(mask[: 4 * tiles]).tolist() == expected
        assert mask[4 * tiles :].tolist() == [*mask[: 4 * tiles].tolist(), 1]
        compared += 1
    assert (compared > 1000, dead) == (True, 7)


def test_rewards_equal_the_originals(transitions: list[dict[str, Any]]) -> None:
    assert tuple(RewardConfig.__dataclass_fields__) == WEIGHTS
    weights = RewardConfig.original().weights()
    decided = 0
    for transition, player, before, after in players(transitions):
        count = len(transition["prev"]["alive"])
        boards = Boards._make(np.concatenate(pair) for pair in zip(before, after, strict=True))
        # The original knows winners and losers only when the whole game is over; dead players get rewards until then.
        over = is_over(after, 0)
        assert over == player["done"]
        result = np.zeros(count, np.int8)
        if over:
            result[:] = np.where(after.players["alive"][0], 1, -1)
            decided += 1
        rewards = np.empty(count, np.float32)
        score_turn(boards, 0, 1, np.ones(count, np.bool_), result, weights, rewards)
        assert abs(rewards[player["player"]] - player["reward"]) < 1e-6
    assert decided > 0
