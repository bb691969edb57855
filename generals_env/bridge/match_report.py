"""Summarises a match: results by seat, forfeits, faults and times of each program, as values of JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from generals_env.bridge.match import Contestant, MatchResult, PlayedGame

__all__ = ["summarise"]


def summarise(result: MatchResult, contestants: list[Contestant]) -> dict[str, Any]:
    """Return the summary of a match.

    Returns:
        ``"programs"``, a list with a dict for each: ``"name"``, ``"wins"``, ``"losses"``, ``"draws"``, ``"wins_by_seat"`` and
        ``"games_by_seat"`` (two numbers each), ``"forfeits"`` (reason: count), ``"faults"``, ``"illegal"``, ``"peak_bytes"``,
        ``"stderr"`` of the last game that it forfeited, and milliseconds: ``"first_move_ms"``, ``"median_ms"``, ``"p99_ms"``,
        ``"max_ms"`` (None without moves). ``"games"``, a list of single games. ``"seconds"``, ``"moves"``, and the runner's own
        share: ``"runner_us_per_move"``, processor time of the runner, and ``"engine_us_per_move"``, its turns and frames.
    """
    moves = max(result.moves, 1)
    return {
        "programs": [describe_program(result, index, one.name) for index, one in enumerate(contestants)],
        "games": [describe_game(played) for played in result.games],
        "seconds": result.seconds,
        "moves": result.moves,
        "runner_us_per_move": result.cpu_seconds / moves * 1e6,
        "engine_us_per_move": sum(played.result.own_seconds for played in result.games) / moves * 1e6,
    }


def describe_program(result: MatchResult, index: int, name: str) -> dict[str, Any]:
    """Return the part of one program."""
    wins, games = [0, 0], [0, 0]
    losses = draws = faults = illegal = peak = 0
    forfeits: Counter[str] = Counter()
    first: list[float] = []
    later: list[float] = []
    stderr = ""
    for played in result.games:
        seat = played.seats.index(index)
        one = played.result
        games[seat] += 1
        wins[seat] += played.winner == index
        losses += played.winner == 1 - index
        draws += played.winner < 0
        faults += one.faults[seat]
        illegal += one.illegal[seat]
        peak = max(peak, one.peaks[seat])
        first += one.times[seat][:1]
        later += one.times[seat][1:]
        if one.forfeits[seat]:
            forfeits[one.forfeits[seat]] += 1
            stderr = one.stderr[seat]
    return {
        "name": name,
        "wins": sum(wins),
        "losses": losses,
        "draws": draws,
        "wins_by_seat": wins,
        "games_by_seat": games,
        "forfeits": dict(forfeits),
        "faults": faults,
        "illegal": illegal,
        "peak_bytes": peak,
        "stderr": stderr,
        "first_move_ms": milliseconds(first, 100),
        "median_ms": milliseconds(later, 50),
        "p99_ms": milliseconds(later, 99),
        "max_ms": milliseconds(later, 100),
    }


def milliseconds(seconds: list[float], percentile: float) -> float | None:
    """Return a percentile of times in milliseconds, None without times."""
    return float(np.percentile(seconds, percentile) * 1e3) if seconds else None


def describe_game(played: PlayedGame) -> dict[str, Any]:
    """Return the part of one game."""
    one = played.result
    return {
        "map": played.seed,
        "seats": list(played.seats),
        "winner": played.winner,
        "reason": one.reason,
        "turns": one.turns,
        "forfeits": one.forfeits,
        "faults": one.faults,
    }
