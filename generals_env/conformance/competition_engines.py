"""Plays games of the competition with this package's engine, alone and in batches, or with an engine under test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from generals_env.bridge.competition_actions import from_index, to_index
from generals_env.config import RewardConfig
from generals_env.conformance.competition_traces import PLAYERS, CompetitionTrace, setup_of
from generals_env.conformance.engines import EngineFactory, EngineFailed, View, view_of
from generals_env.engine.boards import CITY, COMPETITION_VERSION, TOUCH_SHIFT, Boards, copy_boards, empty_boards
from generals_env.engine.rules import turn as rules
from generals_env.engine.rules.action_space import action_count
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.single_game import AFTER, BEFORE, play_turn

__all__ = ["batch_views", "engine_views", "own_views"]

CHANNELS = 9


def own_views(trace: CompetitionTrace) -> Iterator[View]:
    """Yield the board after each turn, as an environment of one game plays it."""
    boards = copy_boards(trace.start, np.zeros(2, np.int64))
    tiles = boards.owner.shape[1]
    active = np.ones(PLAYERS, np.bool_)
    illegal, terminated, truncated = np.zeros((3, PLAYERS), np.bool_)
    rewards = np.zeros(PLAYERS, np.float32)
    observations = np.zeros((PLAYERS, CHANNELS, tiles), np.float32)
    masks = np.zeros((PLAYERS, action_count(COMPETITION_VERSION, tiles)), np.int8)
    weights = RewardConfig().weights()
    for pair in indices_of(trace, trace.height, trace.width):
        play_turn(
            *boards,
            BEFORE,
            AFTER,
            pair,
            active,
            weights,
            trace.max_turns,
            illegal,
            terminated,
            truncated,
            rewards,
            observations,
            masks,
        )
        active &= ~(terminated | truncated)
        yield view_board(boards, AFTER, trace.height, trace.width, bool(terminated.all()), bool(truncated.all()))


def engine_views(trace: CompetitionTrace, factory: EngineFactory) -> Iterator[View]:
    """Yield the board after each turn, as an engine under test plays the game.

    Raises:
        EngineFailed: If the engine raises an exception, or returns something that is no board.
    """
    setup = setup_of(trace.start, trace.height, trace.width, trace.touch_turn, trace.max_turns)
    step = "the call"
    try:
        engine = factory(setup)
        for turn in range(trace.turns):
            step = f"step {turn}"
            engine.step(tuple(tuple(action) for action in trace.actions[turn].tolist()))
            yield view_of(engine, setup)
    except (EngineFailed, GeneratorExit):
        raise
    except Exception as error:  # code of others
        raise EngineFailed(f"{step} raised {error!r:.300}") from error


def batch_views(traces: Sequence[CompetitionTrace]) -> Iterator[list[View | None]]:
    """Yield the boards of games after each turn, played at once on padded boards; None for games that have no further turn.

    Args:
        traces: Games that are cut off at the same turn.
    """
    height, width = (max(getattr(trace, side) for trace in traces) for side in ("height", "width"))
    template = padded(traces, height, width)
    batch = Batch(
        copy_boards(template),
        RewardConfig().weights(),
        traces[0].max_turns,
        np.zeros(6, np.int64),
        np.zeros(3, np.float64),
    )
    batch.load(template)
    passing = 8 * height * width
    actions = [indices_of(trace, height, width) for trace in traces]
    try:
        for turn in range(max(trace.turns for trace in traces)):
            for b, pairs in enumerate(actions):
                batch.outcome.actions[b] = pairs[turn] if turn < len(pairs) else passing
            batch.step()
            terminated, truncated = batch.outcome.terminated[:, 0], batch.outcome.truncated[:, 0]
            yield [
                view_board(batch.boards, b, trace.height, trace.width, bool(terminated[b]), bool(truncated[b]))
                if turn < trace.turns
                else None
                for b, trace in enumerate(traces)
            ]
    finally:
        batch.close()


def padded(traces: Sequence[CompetitionTrace], height: int, width: int) -> Boards:
    """Return the first boards of games in the upper left corners of boards of one size; the rest is mountain."""
    boards = empty_boards(len(traces), height, width, PLAYERS, COMPETITION_VERSION)
    for b, trace in enumerate(traces):
        start, shape = trace.start, (trace.height, trace.width)
        for field, source in ((boards.owner, start.owner), (boards.army, start.army), (boards.terrain, start.terrain)):
            field[b].reshape(height, width)[: trace.height, : trace.width] = source[0].reshape(shape)
        boards.players[b] = trace.start.players[0]
        for player in range(PLAYERS):
            row, column = divmod(int(trace.start.players[0, player]["general"]), trace.width)
            boards.players[b, player]["general"] = row * width + column
        game = boards.games[b]
        game["rows"], game["columns"] = trace.height, trace.width
        game["turn"] = game["last_move"] = trace.start.games[0]["turn"]
        game["modifiers"] = trace.touch_turn << TOUCH_SHIFT
    return boards


def indices_of(trace: CompetitionTrace, height: int, width: int) -> npt.NDArray[np.int64]:
    """Return the actions of a game as indices on boards of ``height`` x ``width``, (T, 2) int64."""
    rows = trace.actions.reshape(-1, trace.actions.shape[2]).tolist()
    indices = [to_index(action, trace.height, trace.width) for action in rows]
    if (height, width) != (trace.height, trace.width):
        indices = [to_index(from_index(index, trace.height, trace.width), height, width) for index in indices]
    return np.array(indices, np.int64).reshape(-1, PLAYERS)


def view_board(boards: Boards, b: int, height: int, width: int, terminated: bool, truncated: bool) -> View:
    """Return board ``b`` without its padding."""
    game = boards.games[b]
    shape = int(game["height"]), int(game["width"])
    owner, army, castle = (
        field.reshape(shape)[:height, :width].ravel() for field in (boards.owner[b], boards.army[b], boards.terrain[b] == CITY)
    )
    return View(
        owner=owner.astype(np.int64),
        army=army.astype(np.int64),
        castle=castle.astype(np.uint8),
        alive=boards.players[b]["alive"].copy(),
        over=terminated,
        truncated=truncated,
        winner=int(rules.winner(boards, b)),
    )
