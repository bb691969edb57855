"""Tests the rules of the competition against games of its own engine, turn by turn."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.competition_traces import action_indices, check_board, check_end, first_board, trace_files
from support.ground_truth import load

from generals_env.engine.boards import Boards, copy_boards
from generals_env.engine.rules.action_space import action_count
from generals_env.engine.rules.rewards import WEIGHTS
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.single_game import AFTER, BEFORE, play_turn, view_board


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


def batch_of(traces: list[dict[str, Any]]) -> Batch:
    """Return a batch whose game b begins with the board of trace b."""
    boards = Boards._make(np.concatenate(fields) for fields in zip(*map(first_board, traces), strict=True))
    sizes, densities = np.zeros(6, np.int64), np.zeros(3)
    batch = Batch(copy_boards(boards), np.zeros(len(WEIGHTS)), traces[0]["cap"], sizes, densities)
    batch.load(boards)
    return batch


@pytest.mark.parametrize("file", trace_files())
def test_batches_equal_competition_traces(file: Path) -> None:
    groups = defaultdict(list)
    for trace in load(file):
        groups[trace["h"], trace["w"], trace["cap"]].append(trace)
    for traces in groups.values():
        batch = batch_of(traces)
        actions = [action_indices(trace) for trace in traces]
        tiles = batch.boards.owner.shape[1]
        observations = np.zeros((2, 9, tiles), np.float32)
        masks = np.zeros((2, 9 * tiles + 1), np.int8)
        for turn in range(max(map(len, actions))):
            for b, given in enumerate(actions):
                batch.outcome.actions[b] = given[turn] if turn < len(given) else 8 * tiles
            batch.step()
            for b, trace in enumerate(traces):
                if turn >= len(actions[b]):
                    continue
                check_board(trace, turn + 1, batch.boards, b)
                view_board(batch.boards, b, observations, masks)
                assert (trace["id"], turn, (batch.views.masks[b] == masks).all()) == (trace["id"], turn, True)
                shown = batch.views.observations[b].transpose(0, 2, 1)
                assert (trace["id"], turn, (shown == observations).all()) == (trace["id"], turn, True)
                if turn + 1 == len(actions[b]):
                    check_end(trace, batch.boards, b)
                    final = trace["final"]
                    assert (trace["id"], batch.outcome.terminated[b].all()) == (trace["id"], final["terminated"])
                    assert (trace["id"], batch.outcome.truncated[b].all()) == (trace["id"], final["truncated"])
