"""Plays one game of a match: asks both programs at once, plays their actions, and judges the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from generals_env.bridge.competition_actions import to_index
from generals_env.bridge.program import Forfeit, Program
from generals_env.bridge.stdio_protocol import encode_frame, encode_handshake
from generals_env.engine.boards import Boards
from generals_env.engine.simulation.single_game import AFTER
from generals_env.game import Game
from generals_env.replay.recorded_game import RecordedGame

__all__ = ["GameResult", "play_game"]

PLAYERS = 2


@dataclass
class GameResult:
    """The result of one game.

    Attributes:
        winner: Seat of the winner, -1 for a draw.
        reason: How it ended: ``"win"``, ``"draw"``, ``"turn limit"`` or ``"forfeit"``.
        turns: Turns played.
        forfeits: Why each program forfeited; empty if it did not.
        faults: Late and unreadable replies of each program.
        illegal: Actions of each program that had no effect, as they were illegal.
        times: Seconds of each program's replies.
        stderr: The end of what each program wrote to stderr.
        peaks: Maximum memory of each program in bytes.
        own_seconds: Time that the runner took for turns and frames.
        game: The boards and actions; None if they are not kept.
    """

    winner: int = -1
    reason: str = ""
    turns: int = 0
    forfeits: list[str] = field(default_factory=lambda: [""] * PLAYERS)
    faults: list[int] = field(default_factory=lambda: [0] * PLAYERS)
    illegal: list[int] = field(default_factory=lambda: [0] * PLAYERS)
    times: list[list[float]] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    own_seconds: float = 0.0
    game: RecordedGame | None = None


async def play_game(game: Game, programs: Sequence[Program], names: Sequence[str], keeps: bool) -> GameResult:
    """Play the game, which has just begun, to its end.

    Args:
        game: The game, with the rules of the competition.
        programs: The two programs, started, by seat.
        names: Their names.
        keeps: Whether to keep boards and actions in the result.
    """
    result = GameResult()
    shape = [int(game.boards.games[AFTER][side]) for side in ("rows", "columns")]
    height, width = game.config.shape
    frames = [encode_handshake(player, *shape) for player in range(PLAYERS)]
    boards, actions = [game.board()], []
    while game.active.any():
        begun = time.perf_counter()
        for player in range(PLAYERS):
            frames[player] += encode_frame(game.boards, AFTER, player)
        result.own_seconds += time.perf_counter() - begun
        replies = await asyncio.gather(*(ask(programs[player], frames[player]) for player in range(PLAYERS)))
        begun = time.perf_counter()
        frames = [b""] * PLAYERS
        result.forfeits = [reply if isinstance(reply, str) else "" for reply in replies]
        if any(result.forfeits):
            result.reason = "forfeit"
            result.winner = -1 if all(result.forfeits) else int(bool(result.forfeits[0]))
            break
        for player, reply in enumerate(replies):
            # Rows and columns beyond the board lie beyond its padding, too.
            inside = reply is not None and not isinstance(reply, str) and reply[1] < shape[0] and reply[2] < shape[1]
            game.actions[player] = to_index(reply, height, width) if inside else 8 * height * width  # type: ignore[arg-type]
        played = game.actions.copy()
        game.play()
        game.publish()
        for player in range(PLAYERS):
            result.illegal[player] += bool(game.illegal[player])
            if game.illegal[player]:
                played[player] = 8 * height * width
        if keeps:
            boards.append(game.board())
            actions.append(played)
        result.turns += 1
        result.own_seconds += time.perf_counter() - begun
    else:
        result.winner = game.get_winner()
        result.reason = reason_of(game)
    result.faults = [program.faults for program in programs]
    result.times = [program.times for program in programs]
    result.peaks = [program.peak for program in programs]
    if keeps:
        joined = Boards._make(np.concatenate(parts) for parts in zip(*boards, strict=True))
        result.game = RecordedGame(joined, np.array(actions, np.int64).reshape(-1, PLAYERS), names=tuple(names))
    return result


async def ask(program: Program, frame: bytes) -> tuple[int, int, int, int, int] | str | None:
    """Return the reply of a program, None for a fault, or why it forfeits."""
    try:
        return await program.ask(frame)
    except Forfeit as forfeit:
        return str(forfeit)


def reason_of(game: Game) -> str:
    """Return how a game ended that no program forfeited."""
    if game.truncated.any():
        return "turn limit"
    return "draw" if game.get_winner() < 0 else "win"
