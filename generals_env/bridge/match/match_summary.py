"""Sums up the games of a match: results by seat, faults, times of moves, the runner's own share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from generals_env.bridge.match.match_game import GameResult

__all__ = ["FAULTS", "MatchSummary", "ProgramSummary"]

#: Kinds of faults, and what they mean.
FAULTS = {
    "late": "no reply in time",
    "malformed": "a reply that is not five integers",
    "unasked": "a line without a frame to answer",
}


@dataclass(frozen=True)
class ProgramSummary:
    """What a program did in all games.

    Attributes:
        command: The program.
        wins: Games won as player 0 and as player 1.
        losses: Games lost, likewise.
        draws: Draws, likewise.
        forfeits: Number of forfeits by reason.
        faults: Number of faults by kind.
        illegal: Moves that the rules do not allow.
        moves: Replies in time.
        first_ms: Maximum of the milliseconds of the first reply; None without one.
        median_ms: Median of the milliseconds of later replies; None without one.
        p99_ms: Their 99th percentile.
        max_ms: Their maximum.
        memory: Maximum of the resident memory, bytes; 0 if the games were too short for a look.
    """

    command: str
    wins: tuple[int, int]
    losses: tuple[int, int]
    draws: tuple[int, int]
    forfeits: dict[str, int]
    faults: dict[str, int]
    illegal: int
    moves: int
    first_ms: float | None
    median_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    memory: int


@dataclass(frozen=True)
class MatchSummary:
    """A match.

    Attributes:
        programs: The two programs.
        games: Number of games.
        turns: Turns of all games.
        endings: Number of games by how they ended.
        seconds: Wall-clock time.
        own_us: CPU time of the runner for a move, microseconds: engine, frames, replies, scheduling.
    """

    programs: tuple[ProgramSummary, ProgramSummary]
    games: int
    turns: int
    endings: dict[str, int]
    seconds: float
    own_us: float

    @classmethod
    def of(cls, commands: Sequence[str], results: Sequence[GameResult], seconds: float) -> MatchSummary:
        """Sum up results."""
        turns = sum(result.turns for result in results)
        own = sum(result.own_seconds for result in results)
        return cls(
            programs=(sum_up(commands[0], 0, results), sum_up(commands[1], 1, results)),
            games=len(results),
            turns=turns,
            endings=dict(Counter(result.end for result in results)),
            seconds=seconds,
            own_us=1e6 * own / max(2 * turns, 1),
        )

    def to_dict(self, results: Sequence[GameResult]) -> dict[str, Any]:
        """Return the summary and one entry a game as JSON values."""
        games = [
            {
                "seed": result.seed,
                "player_0": "AB"[result.first],
                "winner": None if result.winner < 0 else "AB"[result.winner],
                "end": result.end,
                "turns": result.turns,
                "faults": {"AB"[i]: dict(side.faults) for i, side in enumerate(result.sides)},
                "illegal": {"AB"[i]: side.illegal for i, side in enumerate(result.sides)},
                "forfeit": {"AB"[i]: side.forfeit for i, side in enumerate(result.sides) if side.forfeit},
                "errors": {"AB"[i]: side.errors for i, side in enumerate(result.sides) if side.errors},
            }
            for result in results
        ]
        return {
            "programs": {"AB"[i]: vars(program) for i, program in enumerate(self.programs)},
            "games": self.games,
            "turns": self.turns,
            "endings": self.endings,
            "seconds": round(self.seconds, 3),
            "own_us_per_move": round(self.own_us, 1),
            "results": games,
        }


def sum_up(command: str, index: int, results: Sequence[GameResult]) -> ProgramSummary:
    """Return what the program of an index did."""
    wins, losses, draws = [0, 0], [0, 0], [0, 0]
    forfeits: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    first: list[float] = []
    later: list[float] = []
    memory = illegal = 0
    for result in results:
        side = result.sides[index]
        seat = int(result.first != index)
        kind = draws if result.winner < 0 else wins if result.winner == index else losses
        kind[seat] += 1
        faults += side.faults
        illegal += side.illegal
        if side.forfeit:
            forfeits[side.forfeit] += 1
        first += side.times[:1]
        later += side.times[1:]
        memory = max(memory, side.memory)
    times = np.array(later) * 1000
    median, tail, longest = (round(float(np.percentile(times, q)), 3) for q in (50, 99, 100)) if later else (None, None, None)
    return ProgramSummary(
        command=command,
        wins=(wins[0], wins[1]),
        losses=(losses[0], losses[1]),
        draws=(draws[0], draws[1]),
        forfeits=dict(forfeits),
        faults=dict(faults),
        illegal=illegal,
        moves=len(first) + len(later),
        first_ms=round(1000 * max(first), 1) if first else None,
        median_ms=median,
        p99_ms=tail,
        max_ms=longest,
        memory=memory,
    )
