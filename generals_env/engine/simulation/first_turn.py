"""Plays a turn on an empty board: ``python -m generals_env.engine.simulation.first_turn`` compiles the kernels of one game."""

from __future__ import annotations

import numpy as np

from generals_env.engine.boards import empty_boards
from generals_env.engine.kernel_cache.second_process import end_with_parent
from generals_env.engine.rules.rewards import WEIGHTS
from generals_env.engine.simulation.single_game import AFTER, BEFORE, play_turn, view_board

__all__ = ["play_first_turn"]


def play_first_turn() -> None:
    """Call the kernels that a game calls after its map is drawn, with arrays of the same types."""
    size, players = 4, 2
    boards = empty_boards(2, size, size, players)
    observations = np.zeros((players, 9, size * size), np.float32)
    masks = np.zeros((players, 8 * size * size + 1), np.int8)
    actions = np.full(players, 8 * size * size)
    active = np.ones(players, np.bool_)
    illegal, terminated, truncated = np.zeros((3, players), np.bool_)
    rewards = np.zeros(players, np.float32)
    weights = np.zeros(len(WEIGHTS))
    view_board(boards, AFTER, observations, masks)
    results = illegal, terminated, truncated, rewards, observations, masks
    play_turn(*boards, BEFORE, AFTER, actions, active, weights, 2, *results, None)


if __name__ == "__main__":
    end_with_parent()
    play_first_turn()
