"""Plays a recorded game of people with this package's engine or with an engine under test."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from generals_env.conformance.engines import EngineFactory, EngineFailed, ReplayActions, Setup, View, view_of
from generals_env.engine.boards import CITY
from generals_env.errors import GeneralsError
from generals_env.replay import Replay, ReplayTurn

__all__ = ["actions_of", "engine_views", "own_views", "setup_of"]


def own_views(replay: Replay) -> Iterator[View]:
    """Yield the board of each turn as this package plays the game, from turn 0 to the end; arrays are copies."""
    teams = replay.start.players["team"][0]
    for turn in replay.play():
        alive = turn.alive.copy()
        yield View(
            owner=turn.owner.astype(np.int64).ravel(),
            army=turn.army.astype(np.int64).ravel(),
            alive=alive,
            cities=np.flatnonzero(turn.boards.terrain[0] == CITY).tolist(),
            generals=turn.boards.players["general"][0].tolist(),
            over=len(set(teams[alive].tolist())) == 1,
            visible=None if turn.hidden else partial(visible, turn),
        )


def visible(turn: ReplayTurn, player: int) -> npt.NDArray[np.bool_]:
    """Return the tiles that a player sees, (H*W,) bool."""
    return turn.visible(player).ravel()


def setup_of(replay: Replay) -> Setup:
    """Return the position at turn 0."""
    start = replay.start
    modifiers = int(start.games[0]["modifiers"])
    return Setup(
        rules="replay",
        version=replay.version,
        height=replay.height,
        width=replay.width,
        players=replay.players,
        owner=start.owner[0].astype(np.int64),
        army=start.army[0].astype(np.int64),
        terrain=start.terrain[0].astype(np.int64),
        generals=tuple(start.players["general"][0].tolist()),
        teams=tuple(start.players["team"][0].tolist()),
        modifiers=tuple(number for number in range(15) if modifiers >> number & 1),
    )


def actions_of(replay: Replay) -> Iterator[ReplayActions]:
    """Yield what the players did before each turn, without end."""
    # As in a replay: queues are first in, first out in file order, even if the turns in the file are not sorted.
    queued_by = np.maximum.accumulate(replay.moves[:, 4]) if len(replay.moves) else replay.moves[:, 4]
    turn = move = event = 0
    while True:
        left, moves = [], []
        while event < len(replay.events) and replay.events[event, 1] <= turn:
            left.append(int(replay.events[event, 0]))
            event += 1
        while move < len(queued_by) and queued_by[move] <= turn:
            player, start, end, half = replay.moves[move, :4].tolist()
            moves.append((player, start, end, half))
            move += 1
        yield ReplayActions(tuple(left), tuple(moves))
        turn += 1


def engine_views(replay: Replay, factory: EngineFactory, turns: int) -> Iterator[View]:
    """Yield the board of each turn as an engine under test plays the game, from turn 0 to ``turns``.

    Raises:
        EngineFailed: If the engine raises an exception, or returns something that is no board.
    """
    setup = setup_of(replay)
    step = "the call"
    try:
        engine = factory(setup)
        yield view_of(engine, setup)
        for turn, actions in zip(range(turns), actions_of(replay), strict=False):
            step = f"step {turn}"
            engine.step(actions)
            yield view_of(engine, setup)
    except (EngineFailed, GeneralsError, GeneratorExit):
        raise
    except Exception as error:  # code of others
        raise EngineFailed(f"{step} raised {error!r:.300}") from error
