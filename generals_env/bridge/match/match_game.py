"""Plays one game of two programs by the rules of the competition, under limits of time, memory and faults."""

from __future__ import annotations

import selectors
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from generals_env.bridge.competition_actions import SKIP, to_index
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.memory_watch import MemoryWatch
from generals_env.bridge.match.program import Program
from generals_env.bridge.stdio_protocol import encode_frame, encode_handshake, parse_reply
from generals_env.engine.boards import Boards
from generals_env.engine.simulation.single_game import AFTER
from generals_env.errors import ActionError, StateError
from generals_env.game import Game
from generals_env.replay.recorded_game import RecordedGame

__all__ = ["GameResult", "Seat", "Side", "await_replies", "close_programs", "play_game"]

LOOK = 0.2  # seconds between looks whether the game is to stop


@dataclass
class Side:
    """What a program did in a game.

    Attributes:
        faults: Number of faults by kind: late, malformed, unasked.
        illegal: Number of moves that the rules do not allow: passes, but no faults.
        times: Seconds of each reply that came in time.
        forfeit: Why it forfeited, empty if it did not.
        memory: Maximum of its resident memory, bytes; 0 if the game was too short for a look.
        errors: The end of its standard error, if it had faults or forfeited.
    """

    faults: Counter[str] = field(default_factory=Counter)
    illegal: int = 0
    times: list[float] = field(default_factory=list)
    forfeit: str = ""
    memory: int = 0
    errors: str = ""


@dataclass
class GameResult:
    """A game of two programs.

    Attributes:
        seed: Seed of the map.
        first: Index of the program that was player 0.
        winner: Index of the program that won, -1 for a draw.
        end: ``"captured"`` (or touched), ``"draw"`` (both touched or captured), ``"turns"`` (the last turn) or ``"forfeit"``.
        turns: Turns played.
        sides: One for each program, by its index.
        own_seconds: CPU time of the runner for its turns: engine, frames, replies, scheduling.
        record: The game, if it was to be kept.
    """

    seed: int
    first: int
    winner: int
    end: str
    turns: int
    sides: tuple[Side, Side]
    own_seconds: float
    record: RecordedGame | None = None


class Seat:
    """A program at a player's place: which frames it has not answered, and its faults."""

    def __init__(self, program: Program, limits: Limits, side: Side) -> None:
        """Seat a program that was started."""
        self.program = program
        self.side = side
        self._limits = limits
        self._owed = 0  # frames without a reply
        self._frames = 0
        self._sent = 0.0
        self.deadline = 0.0
        self.reply: bytes | None = None
        self.waiting = False

    def send(self, data: bytes, now: float) -> None:
        """Send a frame; lines that came too early or too late are dropped before."""
        self.program.read_now()
        self._take_lines()
        while self.program.take_line() is not None:
            self._fault("unasked")
        self.reply = None
        self.waiting = True
        self._owed += 1
        self._sent = now
        self.deadline = now + (self._limits.move if self._frames else self._limits.first_move)
        self._frames += 1
        self.program.send(data)

    def look(self, now: float) -> None:
        """Take the reply to the last frame if it is there; end waiting by a failure or the deadline."""
        self._take_lines()
        if self._owed == 0 and self.waiting:
            self.waiting = False
            self.side.times.append(now - self._sent)
        elif self.program.failure:
            self.waiting = False
            self.side.forfeit = self.program.describe_end()
        elif self.waiting and now >= self.deadline:
            self.waiting = False
            self._fault("late")

    def _take_lines(self) -> None:
        """Match lines to frames, the oldest first; keep the reply to the last frame."""
        while self._owed and (line := self.program.take_line()) is not None:
            self._owed -= 1
            self.reply = line

    def action(self, height: int, width: int) -> int:
        """Return the action index of the reply, the pass after a fault."""
        passing = 8 * height * width
        if self._owed or self.reply is None:
            return passing
        try:
            action = parse_reply(self.reply)
        except ActionError:
            self._fault("malformed")
            return passing
        index = to_index(action, height, width)
        if index == passing and action[0] != SKIP:
            self.on_illegal()
        return index

    def on_illegal(self) -> None:
        """Count a move that the rules do not allow; by rule C5 it moves nothing, and it is no fault."""
        self.side.illegal += 1

    def _fault(self, kind: str) -> None:
        self.side.faults[kind] += 1
        if self.side.faults.total() >= self._limits.faults:
            self.side.forfeit = self.side.forfeit or f"{self._limits.faults} faults"


def play_game(
    commands: Sequence[Sequence[str]],
    game: Game,
    seed: int,
    first: int,
    limits: Limits,
    watch: MemoryWatch,
    stop: threading.Event,
    names: Sequence[str] | None = None,
) -> GameResult:
    """Play a game; all processes of the programs have ended when it returns or raises.

    Args:
        commands: Arguments of the two programs.
        game: A game with the rules of the competition, of one size.
        seed: Seed of its map.
        first: Index of the program that is player 0.
        limits: Limits of both programs.
        watch: Measures their memory.
        stop: Ends the game when it is set.
        names: Names of the programs, to keep the game with them; None keeps no game.

    Raises:
        ConfigError: If a program cannot be started.
        StateError: If ``stop`` was set.
    """
    sides = (Side(), Side())
    order = (first, 1 - first)
    game.reset(seed=seed)
    with ExitStack() as ending:
        programs: list[Program] = []
        ending.callback(close_programs, programs, limits, stop)
        for index in order:
            programs.append(Program(commands[index]))
            watch.add(programs[-1])
            ending.callback(watch.remove, programs[-1])
        seats = [Seat(program, limits, sides[index]) for program, index in zip(programs, order, strict=True)]
        selector = ending.enter_context(selectors.DefaultSelector())
        kept: list[tuple[Boards, list[int]]] | None = [] if names is not None else None
        begun = time.thread_time()
        play_turns(game, seats, selector, stop, kept)
        own_seconds = time.thread_time() - begun
    for seat in seats:
        seat.side.memory = seat.program.memory
        if seat.side.faults or seat.side.forfeit:
            seat.side.errors = seat.program.errors()
    winner, end = judge(game, seats)
    record = None
    if kept is not None and names is not None:
        boards = Boards._make(
            np.concatenate(fields) for fields in zip(*[board for board, _ in kept], game.board(), strict=True)
        )
        actions = np.array([actions for _, actions in kept], np.int64).reshape(-1, 2)
        record = RecordedGame(
            boards, actions, id=f"{seed}-{first}", names=tuple(names[index] for index in order), details={"source": "match"}
        )
    place = -1 if winner < 0 else order[winner]
    return GameResult(seed, first, place, end, game.turn, sides, own_seconds, record)


def play_turns(
    game: Game,
    seats: Sequence[Seat],
    selector: selectors.BaseSelector,
    stop: threading.Event,
    kept: list[tuple[Boards, list[int]]] | None,
) -> None:
    """Play until the game is over or a program forfeits."""
    height, width = game.config.shape
    hello = [encode_handshake(player, height, width) for player in range(2)]
    for seat in seats:
        seat.program.watch(selector)
    while game.active.any():
        frames = [encode_frame(game.boards, AFTER, player) for player in range(2)]
        for player, seat in enumerate(seats):
            seat.send(hello[player] + frames[player], time.monotonic())
            seat.program.want_writes(selector)
        hello = [b"", b""]
        await_replies(seats, selector, stop)
        if any(seat.side.forfeit for seat in seats):
            return
        actions = [seat.action(height, width) for seat in seats]
        before = game.board() if kept is not None else None
        game.actions[:] = actions
        if game.play():
            for player, seat in enumerate(seats):
                if game.illegal[player]:
                    seat.on_illegal()
        if kept is not None and before is not None:
            kept.append((before, game.actions.tolist()))
        if any(seat.side.forfeit for seat in seats):
            return


def await_replies(seats: Sequence[Seat], selector: selectors.BaseSelector, stop: threading.Event) -> None:
    """Wait until each program has replied, failed, or reached its deadline."""
    while True:
        now = time.monotonic()
        for seat in seats:
            seat.look(now)
        waiting = [seat.deadline for seat in seats if seat.waiting]
        if not waiting:
            return
        if stop.is_set():
            raise StateError("match: expected no interruption, got one: the game was stopped")
        for key, _ in selector.select(max(0.0, min(min(waiting) - now, LOOK))):
            key.data.on_ready(key.fd, selector)


def judge(game: Game, seats: Sequence[Seat]) -> tuple[int, str]:
    """Return the winning player, -1 for a draw, and how the game ended."""
    lost = [bool(seat.side.forfeit) for seat in seats]
    if any(lost) and game.active.any():
        return (-1 if all(lost) else lost.index(False)), "forfeit"
    alive = game.boards.players[AFTER]["alive"]
    if alive.all():
        return -1, "turns"
    return (int(np.flatnonzero(alive)[0]), "captured") if alive.any() else (-1, "draw")


def close_programs(programs: Sequence[Program], limits: Limits, stop: threading.Event) -> None:
    """End the input of all programs, wait for them for a while, and kill what is left."""
    for program in programs:
        program.end_input()
    deadline = time.monotonic() + (0.0 if stop.is_set() else limits.ending)
    for program in programs:
        program.close(deadline)
