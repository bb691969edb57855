"""Tests that boards made of observations and frames agree with what the engine shows the seat."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.helpers import same

import generals_env
from generals_env.bridge.remembering_agent import seen_in_frame
from generals_env.bridge.stdio_protocol import encode_frame, read_frame
from generals_env.engine.boards import Boards
from generals_env.engine.observations.tile_codes import SEEN_NEUTRAL
from generals_env.engine.simulation.seen_board import SeenBoard, codes_of_board, seen_in_observation
from generals_env.observations.dtypes import to_float32

LIVE: dict[str, Any] = {"height": 8, "width": 9}
SMALLER: dict[str, Any] = {"height": (5, 7), "width": (5, 8)}
COMPETITION: dict[str, Any] = {"height": 8, "width": 9, "rules": "competition"}


def played(options: dict[str, Any], dtype: str = "float32") -> Any:
    """Return games in their middle."""
    env = generals_env.make_vec(6, observation="full", max_turns=400, dtype=dtype, **options)
    env.reset(seed=5)
    env.play(61, ("expander", "expander"))
    return env


def check_seen(made: SeenBoard, boards: Boards, b: int, seat: int) -> None:
    """Check that a board made of what a seat sees agrees with the true one where the seat sees it, and in the totals."""
    codes = codes_of_board(boards, b, seat)
    assert same(made.codes, codes)
    seen = codes >= SEEN_NEUTRAL
    assert same(made.boards.army[0, seen], boards.army[b, seen])
    own, other = boards.owner[b] == seat, boards.owner[b] == 1 - seat
    for mine, player in ((own, made.seat), (other, 1 - made.seat)):
        assert same(made.boards.owner[0, seen] == player, mine[seen])
        assert totals(made.boards.owner[0] == player, made.boards.army[0]) == totals(mine, boards.army[b])
    game, others = made.boards.games[0], boards.games[b]
    assert (game["turn"], game["version"], game["modifiers"]) == (others["turn"], others["version"], others["modifiers"])
    assert made.boards.players["general"][0, made.seat] == boards.players["general"][b, seat]


def totals(mine: npt.NDArray[np.bool_], army: npt.NDArray[np.int32]) -> tuple[int, int]:
    """Return land and army of a player."""
    return int(mine.sum()), int(army[mine].sum())


@pytest.mark.parametrize("options", [LIVE, SMALLER, COMPETITION], ids=["live", "smaller", "competition"])
def test_boards_made_of_observations_agree_with_the_true_ones(options: dict[str, Any]) -> None:
    env = played(options)
    seen, boards = env.observe(), env.boards()
    for b in range(6):
        for seat in range(2):
            assert same(codes_of_board(boards, b, seat), env.batch.views.tile_codes[b, seat])
            touch_turn = 800 if "rules" in options else None
            check_seen(seen_in_observation(seen["observation"][b, seat], 60, -1, touch_turn), boards, b, seat)


def test_boards_made_of_frames_agree_with_the_true_ones() -> None:
    boards = played(COMPETITION).boards()
    for b in range(6):
        for seat in range(2):
            frame = read_frame(io.BytesIO(encode_frame(boards, b, seat)), 8, 9, 2)
            assert frame is not None
            check_seen(seen_in_frame(frame), boards, b, seat)


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_coarse_observations_keep_turn_and_land(dtype: str) -> None:
    env = played(LIVE, dtype)
    seen, exact = env.observe(), env.boards()
    for b in range(6):
        tensor = np.asarray(to_float32(seen["observation"][b, 0]), np.float32)
        made = seen_in_observation(tensor, 60, -1, None)
        assert same(made.codes, codes_of_board(exact, b, 0))
        assert made.boards.games["turn"][0] == exact.games["turn"][b]
        assert made.boards.players["general"][0, 0] == exact.players["general"][b, 0]
        assert ((made.boards.owner[0] == 0) == (exact.owner[b] == 0)).all()


def test_board_made_of_the_layout_standard_has_the_known_general() -> None:
    env = generals_env.make_vec(2, **LIVE)
    env.reset(seed=5)
    seen, boards = env.observe(), env.boards()
    home = int(boards.players["general"][0, 0])
    made = seen_in_observation(seen["observation"][0, 0], 0, home, None)
    assert (made.boards.games["turn"][0], made.boards.players["general"][0, 0]) == (0, home)
    assert made.codes[home] == codes_of_board(boards, 0, 0)[home]
    assert not (made.boards.owner[0] == 1).any()
