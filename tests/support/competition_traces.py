"""Reads the traces of the competition beside the checkout, and compares boards with them."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from generals_env.bridge.competition_actions import to_index
from generals_env.bridge.competition_boards import board_of
from generals_env.engine.boards import CITY, Boards
from support.ground_truth import SHARED, load

COMPETITION = SHARED / "competition"
MISSING = f"{COMPETITION} is not there: the ground truth is not part of the repository"
KINDS = ("small", "duel", "hand", "full")


def trace_files() -> list[Any]:
    """Return the files of traces as test parameters; one that skips where there are none."""
    files = sorted(file for kind in KINDS for file in COMPETITION.glob(f"{kind}_*.json.gz"))
    skipped = pytest.param(None, id="traces", marks=pytest.mark.skip(reason=MISSING))
    return [pytest.param(file, id=file.name) for file in files] or [skipped]


def read_file(name: str) -> Any:
    """Return the contents of a file of the competition; the test skips without it."""
    if not (COMPETITION / name).is_file():
        pytest.skip(MISSING)
    return load(COMPETITION / name)


def first_board(trace: dict[str, Any]) -> Boards:
    """Return the board with which a trace begins."""
    return board_of(trace["grid"], trace["h"], trace["w"], trace["dt"], trace["start"])


def action_indices(trace: dict[str, Any]) -> npt.NDArray[np.int64]:
    """Return the actions of a trace as indices, (T, 2)."""
    height, width = trace["h"], trace["w"]
    pairs = [[to_index(turn[:5], height, width), to_index(turn[5:], height, width)] for turn in trace["actions"]]
    return np.array(pairs, np.int64).reshape(-1, 2)


def check_board(trace: dict[str, Any], turn: int, boards: Boards, b: int) -> None:
    """Compare board ``b``, after this many turns of the trace, with what the trace says about it."""
    owner, army, castle = boards.owner[b], boards.army[b], (boards.terrain[b] == CITY).astype(np.uint8)
    where = trace["id"], turn
    crc = zlib.crc32(owner.astype(np.int8).tobytes() + army.astype("<i4").tobytes() + castle.tobytes())
    for sample in trace["samples"]:
        if sample["turn"] == turn:
            assert (where, int(boards.games[b]["turn"])) == (where, sample["time"])
            assert (where, owner.tolist()) == (where, sample["owner"])
            assert (where, army.tolist()) == (where, sample["army"])
            assert (where, castle.tolist()) == (where, [int(value) for value in sample["castle"]])
    assert (where, crc) == (where, trace["crc"][turn - 1])
    for player in range(2):
        own = owner == player
        assert (where, int(own.sum())) == (where, trace["land"][turn - 1][player])
        assert (where, int(army[own].sum())) == (where, trace["army"][turn - 1][player])


def check_end(trace: dict[str, Any], boards: Boards, b: int) -> None:
    """Compare the players alive after the last turn of a trace with its result."""
    final = trace["final"]
    alive = boards.players[b]["alive"].tolist()
    if not final["terminated"]:
        assert (trace["id"], alive) == (trace["id"], [True, True])
    else:
        assert (trace["id"], alive) == (trace["id"], [final["winner"] == 0, final["winner"] == 1])
    assert int(boards.games[b]["turn"]) == final["time"]
