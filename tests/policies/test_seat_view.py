"""Tests that a seat's view of a board, of an observation and of a frame tell what the engine shows the seat."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from support.helpers import same

import generals_env
from generals_env.engine.boards import NEUTRAL
from generals_env.engine.observations.tile_codes import SEEN_MOUNTAIN
from generals_env.engine.policies.seat_view import UNKNOWN, SeatView, view_of_board, view_of_observation
from generals_env.observations.dtypes import to_float32

KINDS: list[dict[str, Any]] = [
    {"height": 8, "width": 9},
    {"height": (5, 7), "width": (5, 8), "rules": "competition"},
]


def played(options: dict[str, Any], dtype: str = "float32") -> Any:
    """Return games in their middle."""
    env = generals_env.make_vec(6, observation="full", max_turns=400, dtype=dtype, **options)
    env.reset(seed=5)
    env.play(61, ("expander", "expander"))
    return env


def comparable(view: SeatView) -> tuple[Any, ...]:
    """Return the fields that boards and observations tell alike: without the numbers of the players."""
    owner = np.where(view.owner < 0, view.owner, view.owner != view.player)
    return (view.codes.tobytes(), owner.tobytes(), view.army.tobytes(), *astuple(view)[4:])


@pytest.mark.parametrize("options", KINDS, ids=["live", "competition"])
def test_views_of_boards_and_observations_agree(options: dict[str, Any]) -> None:
    env = played(options)
    seen, boards = env.observe(), env.boards()
    for b in range(6):
        for seat in range(2):
            board = view_of_board(boards, b, seat)
            tensor, mask = seen["observation"][b, seat], seen["action_mask"][b, seat]
            assert same(board.codes, env.batch.views.tile_codes[b, seat])
            shown = view_of_observation(tensor, len(mask), 60, UNKNOWN, 800)
            assert comparable(shown) == comparable(board)
            assert shown.turn == boards.games["turn"][b]


def test_view_of_a_board_hides_what_is_out_of_sight() -> None:
    boards = played(KINDS[0]).boards()
    view = view_of_board(boards, 0, 0)
    hidden = view.codes < SEEN_MOUNTAIN
    assert hidden.any()
    changed = boards.army.copy()
    changed[0, hidden] += 7 * (boards.owner[0, hidden] == NEUTRAL)
    other = view_of_board(boards._replace(army=changed), 0, 0)
    assert comparable(other) == comparable(view)
    assert (view.owner[hidden] == NEUTRAL).all()
    assert not view.army[hidden].any()


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_views_of_coarse_observations_keep_the_turn(dtype: str) -> None:
    env = played(KINDS[0], dtype)
    seen, exact = env.observe(), env.boards()
    for b in range(6):
        tensor = np.asarray(to_float32(seen["observation"][b, 0]), np.float32)
        shown = view_of_observation(tensor, seen["action_mask"].shape[-1], 60, UNKNOWN, 800)
        board = view_of_board(exact, b, 0)
        assert (shown.turn, shown.general, shown.land[0]) == (board.turn, board.general, board.land[0])
        assert same(shown.codes, board.codes)


def test_view_of_the_layout_standard_knows_no_totals() -> None:
    env = generals_env.make_vec(2, **KINDS[0])
    env.reset(seed=5)
    seen, boards = env.observe(), env.boards()
    home = int(boards.players["general"][0, 0])
    view = view_of_observation(seen["observation"][0, 0], seen["action_mask"].shape[-1], 0, home, 800)
    assert (view.land, view.armies, view.turn, view.general) == ((UNKNOWN, UNKNOWN), (UNKNOWN, UNKNOWN), 0, home)
    assert view.codes[home] == view_of_board(boards, 0, 0).codes[home]
