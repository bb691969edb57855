"""Plays one game in which a program takes part, over pipes and under the limits of the competition: ``play_program_game``."""

from __future__ import annotations

import selectors
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from generals_env.arena.diagnostics import LOSSES
from generals_env.arena.played_game import DRAW, FORFEIT
from generals_env.arena.players import PROGRAM_KIND, Player
from generals_env.arena.playing import BlockGame, choose, result
from generals_env.arena.table import Table
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.match_game import Seat, Side, await_replies, close_programs
from generals_env.bridge.match.memory_watch import MemoryWatch
from generals_env.bridge.match.program import Program
from generals_env.bridge.stdio_protocol import encode_frame, encode_handshake
from generals_env.config import GameConfig

__all__ = ["has_program", "play_program_game"]

FORFEITED = LOSSES.index("forfeit")


def has_program(pair: Sequence[Player]) -> bool:
    """Return whether one of the players is a program."""
    return any(player.kind == PROGRAM_KIND for player in pair)


def play_program_game(
    config: GameConfig,
    pair: tuple[Player, Player],
    number: int,
    swapped: bool,
    seed: int,
    stop: threading.Event,
    limits: Limits,
    watch: MemoryWatch,
    keeps: bool = False,
) -> BlockGame:
    """Play one game; all processes of the programs have ended when it returns or raises.

    Players of other kinds choose after the programs have replied, so their time is not the programs'. They have no limits.

    Args:
        config: Options of the games, with the rules of the competition.
        pair: The players; the first one has seat 0 unless the seats are swapped.
        number: Number of the map.
        swapped: Whether the seats are swapped.
        seed: Seed of the run.
        stop: Ends the game when it is set.
        limits: Limits of the programs.
        watch: Measures their memory.
        keeps: Whether to keep the actions.

    Raises:
        ConfigError: If a program cannot be started, or no fair map was found.
        StateError: If ``stop`` was set.
    """
    order = pair[::-1] if swapped else pair
    table = Table(config, (order[0], order[1]), [number], seed, swapped, keeps)
    seats: dict[int, Seat] = {}
    with ExitStack() as ending:
        programs: list[Program] = []
        ending.callback(close_programs, programs, limits, stop)
        for place, player in enumerate(order):
            if player.kind == PROGRAM_KIND:
                programs.append(Program(player.command))
                watch.add(programs[-1])
                ending.callback(watch.remove, programs[-1])
                seats[place] = Seat(programs[-1], limits, Side())
        selector = ending.enter_context(selectors.DefaultSelector())
        play_turns(table, seats, selector, stop)
    game = with_faults(result(table, 0, seed), seats)
    return forfeited(game, seats) if any(seat.side.forfeit for seat in seats.values()) and table.going.any() else game


def play_turns(table: Table, seats: dict[int, Seat], selector: selectors.BaseSelector, stop: threading.Event) -> None:
    """Play until the game is over or a program forfeits."""
    boards, outcome = table.batch.boards, table.batch.outcome
    game = boards.games[0]
    hello = {place: encode_handshake(place, int(game["rows"]), int(game["columns"])) for place in seats}
    for seat in seats.values():
        seat.program.watch(selector)
    while table.going.any():
        frames = {place: hello.pop(place, b"") + encode_frame(boards, 0, place) for place in seats}
        for place, seat in seats.items():
            seat.send(frames[place], time.monotonic())
            seat.program.want_writes(selector)
        await_replies(list(seats.values()), selector, stop)
        actions = {place: seat.action(*table.config.shape) for place, seat in seats.items() if not seat.side.forfeit}
        if any(seat.side.forfeit for seat in seats.values()):
            return
        for player in table.players:
            choose(player, [table])
        for place, action in actions.items():
            outcome.actions[0, place] = action
        table.step()
        for place, seat in seats.items():
            if outcome.illegal[0, place]:
                seat.on_illegal()


def with_faults(game: BlockGame, seats: Mapping[int, Seat]) -> BlockGame:
    """Return a game with the number of faults of its programs, a figure that other players do not have."""
    faults = tuple(float(seats[place].side.faults.total()) if place in seats else None for place in range(2))
    return replace(game, played=replace(game.played, figures={**game.played.figures, "faults": faults}))


def forfeited(game: BlockGame, seats: Mapping[int, Seat]) -> BlockGame:
    """Return a game that one or both programs forfeited."""
    played = game.played
    lost = [place for place, seat in seats.items() if seat.side.forfeit]
    losses = tuple(float(FORFEITED) if place in lost else None for place in range(2))
    winner, ended = (-1, DRAW) if len(lost) == 2 else (1 - lost[0], FORFEIT)
    figures = {**played.figures, "loss": losses} if winner >= 0 else played.figures
    texts = [
        f"{played.players[place]} on map {played.map}, turn {played.turns}: {seats[place].side.forfeit}\n"
        f"{seats[place].program.errors()}".strip()
        for place in lost
    ]
    changed = replace(played, winner=winner, ended=ended, figures=figures)
    return replace(game, played=changed, failure="\n".join(texts))
