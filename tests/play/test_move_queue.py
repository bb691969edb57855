"""Tests the queue of a person's moves against the engine's queue of replays, and the indices of moves."""

from __future__ import annotations

import numpy as np
import pytest
from support.play_games import ready_session

from generals_env.config import GameConfig
from generals_env.engine.simulation.single_game import AFTER, BEFORE, replay_turn
from generals_env.errors import ConfigError
from generals_env.game import Game
from generals_env.play.move_queue import MAX_QUEUED, MoveQueue, move_index

HEIGHT, WIDTH = 6, 7
TILES = HEIGHT * WIDTH


def random_move(rng: np.random.Generator) -> tuple[int, int, bool]:
    """Return start, end and half of a move between neighbours on the board."""
    while True:
        row, column, direction = int(rng.integers(HEIGHT)), int(rng.integers(WIDTH)), int(rng.integers(4))
        down, right = ((-1, 0), (1, 0), (0, -1), (0, 1))[direction]
        if 0 <= row + down < HEIGHT and 0 <= column + right < WIDTH:
            start = row * WIDTH + column
            return start, start + down * WIDTH + right, bool(rng.integers(2))


def test_queue_plays_what_the_engine_selects_from_a_queue() -> None:
    rng = np.random.default_rng(3)
    game = Game(GameConfig.from_options(height=HEIGHT, width=WIDTH, max_turns=10_000))
    game.reset(7)
    queue, active = MoveQueue(), np.ones(2, np.bool_)
    rows: list[tuple[int, int, int, int, int]] = []
    heads = np.zeros(2, np.int32)
    actions, terminated, rewards = np.zeros(2, np.int64), np.zeros(2, np.bool_), np.zeros(2, np.float32)
    dropped = played = 0
    for turn in range(400):
        if len(queue) < 4:
            for _ in range(12):  # most of them are illegal when their turn comes
                start, end, half = random_move(rng)
                queue.extend([move_index(start, end, half, (HEIGHT, WIDTH), (HEIGHT, WIDTH), False)])
                rows.append((0, start, end, half, turn))
        boards, before = game.board(), len(queue)
        pair = type(boards)._make(np.concatenate([field, field]) for field in boards)
        replay_turn(
            pair, BEFORE, AFTER, np.array(rows, np.int32), heads, len(rows), active, np.zeros(11), actions, terminated, rewards
        )
        chosen = queue.take(game.masks[0])
        assert actions[0] == (8 * TILES if chosen is None else chosen), turn
        assert len(rows) - heads[0] == len(queue), turn
        dropped += before - len(queue) - (chosen is not None)
        played += chosen is not None
        game.actions[:] = 8 * TILES if chosen is None else chosen, 8 * TILES
        game.play()
        for name in ("owner", "army"):
            assert (getattr(game.boards, name)[AFTER] == getattr(pair, name)[AFTER]).all(), turn
    assert dropped > 100
    assert played > 100


def test_queue_is_undone_cleared_and_bounded() -> None:
    queue, mask = MoveQueue(), np.zeros(8 * TILES + 1, np.int8)
    assert not queue.undo()
    queue.extend([3, 5, 7])
    assert queue.undo()
    assert list(queue) == [3, 5]
    mask[5] = 1
    assert queue.take(mask) == 5
    assert queue.take(mask) is None
    queue.extend([1] * MAX_QUEUED)
    with pytest.raises(ConfigError, match="expected at most 500 moves"):
        queue.extend([1])
    assert len(queue) == MAX_QUEUED
    queue.clear()
    assert len(queue) == 0


@pytest.mark.parametrize(("start", "end"), [(0, 2), (6, 7), (-1, 0), (0, -7), (41, 42), (35, 42), (99, 100)])
def test_moves_between_tiles_apart_are_refused(start: int, end: int) -> None:
    with pytest.raises(ConfigError, match=rf"move: expected two neighbours on a board of 6x7, got tiles {start} and {end}"):
        move_index(start, end, False, (HEIGHT, WIDTH), (HEIGHT, WIDTH), False)


def test_moves_on_padded_and_wrapping_boards_have_their_index() -> None:
    assert move_index(6, 0, False, (HEIGHT, WIDTH), (HEIGHT, WIDTH), True) == 4 * 6 + 3
    assert move_index(0, 35, True, (HEIGHT, WIDTH), (HEIGHT, WIDTH), True) == 4 * TILES
    with pytest.raises(ConfigError, match="board of 5x5"):
        move_index(4, 5, False, (HEIGHT, WIDTH), (5, 5), False)
    session = ready_session(game={"rules": "competition"}, seed=4)
    facts = session.facts()
    tile = facts["columns"]  # the first of the second row, on a board that may be padded
    session.add_move(tile, tile + 1, True)
    session.add_build(tile)
    assert session.queued() == [{"from": tile, "to": tile + 1, "half": True}, {"from": tile, "build": True}]
