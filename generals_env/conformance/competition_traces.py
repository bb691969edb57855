"""Validates traces of the bot competition: games with builds on rectangular boards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.bridge.competition_boards import board_of
from generals_env.conformance.engines import Setup, View
from generals_env.conformance.expectations import LIMIT, MAX_CRC, sized, table_of
from generals_env.engine.boards import Boards
from generals_env.errors import GeneralsError, ReplayError
from generals_env.replay.fields import listed, whole, wholes
from generals_env.replay.reader import MAX_ARMY, MAX_TURN

__all__ = ["PLAYERS", "CompetitionTrace", "position_of", "setup_of", "trace_of"]

PLAYERS = 2
ACTION = 5  # numbers of an action: pass, row, column, direction, split
MIN_SIDE, MAX_SIDE = 2, 64


@dataclass(frozen=True)
class CompetitionTrace:
    """A game of the competition and what is expected of it.

    Attributes:
        id: Id of the game.
        start: The board at the beginning (one board).
        height: H.
        width: W.
        touch_turn: Turn from which a touch of the general wins.
        max_turns: Turn at which the game is cut off.
        actions: (T, 2, 5) int64: pass, row, column, direction, split of each player.
        crc: (T,) int64, checksum after each turn; empty if there is none.
        army: (T, 2) int64, or None.
        land: (T, 2) int64, or None.
        samples: Whole boards by turn, with the clock of the game then.
        final: Named values of the end.
    """

    id: str
    start: Boards
    height: int
    width: int
    touch_turn: int
    max_turns: int
    actions: npt.NDArray[np.int64]
    crc: npt.NDArray[np.int64]
    army: npt.NDArray[np.int64] | None
    land: npt.NDArray[np.int64] | None
    samples: dict[int, tuple[int, View]]
    final: Mapping[str, Any]

    @property
    def turns(self) -> int:
        """Number of turns T."""
        return len(self.actions)


def trace_of(game: Any) -> CompetitionTrace:
    """Return a game of a trace file of the competition.

    Raises:
        ReplayError: If it is damaged.
    """
    if not isinstance(game, Mapping):
        raise ReplayError(f"expected named fields, got {game!r:.80}")
    for name in ("h", "w", "grid", "dt", "cap", "actions", "crc"):
        if name not in game:
            raise ReplayError(f"{name}: expected this field, got none")
    height, width = (whole(name, game[name], MIN_SIDE, MAX_SIDE) for name in ("h", "w"))
    touch_turn, max_turns = (whole(name, game[name], 0, MAX_TURN) for name in ("dt", "cap"))
    rows = listed("actions", game)
    turns = len(rows)
    if not 0 < turns <= MAX_TURN:
        raise ReplayError(f"actions: expected 1 to {MAX_TURN} turns, got {turns}")
    samples = {}
    for number, sample in enumerate(listed("samples", game)):
        turn, time, view = sample_of(f"samples[{number}]", sample, height * width, turns)
        if turn in samples:
            raise ReplayError(f"samples[{number}]: expected one board a turn, got a second one of turn {turn}: remove one")
        samples[turn] = time, view
    final = game.get("final", {})
    if not isinstance(final, Mapping):
        raise ReplayError(f"final: expected named fields, got {final!r:.80}")
    return CompetitionTrace(
        id=str(game.get("id", ""))[:80],
        start=position_of(game["grid"], height, width, touch_turn, game.get("start")),
        height=height,
        width=width,
        touch_turn=touch_turn,
        max_turns=max_turns,
        actions=table_of("actions", rows, turns, PLAYERS * ACTION).reshape(turns, PLAYERS, ACTION),
        crc=sized("crc", wholes("crc", game, 0, MAX_CRC), turns),
        army=table_of("army", game["army"], turns, PLAYERS) if "army" in game else None,
        land=table_of("land", game["land"], turns, PLAYERS) if "land" in game else None,
        samples=samples,
        final=final,
    )


def position_of(grid: Any, height: int, width: int, touch_turn: int, start: Any) -> Boards:
    """Return the board of a grid, or of a position on it.

    Raises:
        ReplayError: If it is damaged.
    """
    tiles = height * width
    numbers = sized("grid", wholes("grid", {"grid": grid}, -LIMIT, MAX_ARMY), tiles)
    if start is not None:
        if not isinstance(start, Mapping) or not {"time", "owner", "army", "castle"} <= set(start):
            raise ReplayError(f"start: expected time, owner, army and castle, got {start!r:.80}")
        start = {
            "time": whole("start: time", start["time"], 0, MAX_TURN),
            "owner": sized("start: owner", flags("start: owner", start["owner"], -2, 1), tiles),
            "army": sized("start: army", flags("start: army", start["army"], 0, MAX_ARMY), tiles),
            "castle": sized("start: castle", flags("start: castle", start["castle"], 0, 1), tiles),
        }
    try:
        return board_of(numbers, height, width, touch_turn, start)
    except ReplayError:
        raise
    except GeneralsError as error:
        raise ReplayError(str(error)) from error


def sample_of(name: str, sample: Any, tiles: int, turns: int) -> tuple[int, int, View]:
    """Return turn, clock and board of a sample."""
    if not isinstance(sample, Mapping) or not {"turn", "time", "owner", "army"} <= set(sample):
        raise ReplayError(f"{name}: expected turn, time, owner and army, got {sample!r:.80}")
    castle = None
    if "castle" in sample:
        castle = sized(f"{name}: castle", flags(f"{name}: castle", sample["castle"], 0, 1), tiles).astype(np.uint8)
    view = View(
        owner=sized(f"{name}: owner", flags(f"{name}: owner", sample["owner"], -LIMIT, LIMIT), tiles),
        army=sized(f"{name}: army", flags(f"{name}: army", sample["army"], -LIMIT, LIMIT), tiles),
        castle=castle,
    )
    return whole(f"{name}: turn", sample["turn"], 1, turns), whole(f"{name}: time", sample["time"], 0, LIMIT), view


def flags(name: str, values: Any, minimum: int, maximum: int) -> npt.NDArray[np.int64]:
    """Return a list of whole numbers, or of true and false, as an array."""
    if isinstance(values, list):
        values = [int(value) if isinstance(value, bool) else value for value in values]
    return wholes(name, {name: values}, minimum, maximum)


def setup_of(start: Boards, height: int, width: int, touch_turn: int, max_turns: int) -> Setup:
    """Return the position of a board for an engine under test."""
    return Setup(
        rules="competition",
        version=0,
        height=height,
        width=width,
        players=PLAYERS,
        owner=start.owner[0].astype(np.int64),
        army=start.army[0].astype(np.int64),
        terrain=start.terrain[0].astype(np.int64),
        generals=tuple(start.players["general"][0].tolist()),
        teams=(0, 1),
        turn=int(start.games[0]["turn"]),
        touch_turn=touch_turn,
        max_turns=max_turns,
    )
