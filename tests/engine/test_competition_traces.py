"""Tests the rules of the competition against games of its own engine, turn by turn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from generals_env.engine.boards import Boards, copy_boards
from generals_env.engine.rules.action_space import action_count
from generals_env.engine.rules.rewards import WEIGHTS
from generals_env.engine.simulation.single_game import AFTER, BEFORE, play_turn
from support.competition_traces import action_indices, check_board, check_end, first_board, trace_files
from support.ground_truth import load


@pytest.mark.parametrize("file", trace_files())
def test_single_games_equal_competition_traces(file: Path) -> None:
    for trace in load(file):
        boards = copy_boards(first_board(trace), np.zeros(2, np.int64))
        tiles = boards.owner.shape[1]
        active = np.ones(2, np.bool_)
        illegal, terminated, truncated = np.zeros((3, 2), np.bool_)
        rewards = np.zeros(2, np.float32)
        observations = np.zeros((2, 9, tiles), np.float32)
        masks = np.zeros((2, action_count(int(boards.games[0]["version"]), tiles)), np.int8)
        for turn, actions in enumerate(action_indices(trace)):
            play_turn(
                *boards, BEFORE, AFTER, actions, active, np.zeros(len(WEIGHTS)), trace["cap"],
                illegal, terminated, truncated, rewards, observations, masks,
            )  # fmt: skip
            check_board(trace, turn + 1, boards, AFTER)
        check_end(trace, Boards._make(boards), AFTER)
        final = trace["final"]
        assert (trace["id"], terminated.tolist(), truncated.tolist()) == (
            trace["id"],
            [final["terminated"]] * 2,
            [final["truncated"]] * 2,
        )
