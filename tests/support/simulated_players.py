"""Simulates games of players of known strength, to check intervals, ratings and sequential tests against the truth."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from generals_env.arena.played_game import CUT_OFF, DRAW, WON, PlayedGame
from generals_env.arena.statistics.bradley_terry import probabilities
from generals_env.arena.statistics.game_table import GameTable

NAMES = ("expander", "hunter", "planner", "sleeper")


def simulated_table(
    strengths: tuple[float, ...],
    maps: int,
    rng: np.random.Generator,
    *,
    seat: float = 0.0,
    log_draw: float = -1.0,
    draw_share: float = 0.0,
    seat_of_map: float = 0.0,
    suits_of_map: float = 0.0,
) -> GameTable:
    """Return games of all pairs of players, on each map from both seats.

    Args:
        strengths: Strengths of the first players of ``NAMES``, in units of the natural logarithm of the odds.
        maps: Maps of each pair of players.
        rng: Source of all randomness.
        seat: Advantage of the first seat.
        log_draw: Logarithm of Davidson's draw parameter.
        draw_share: If positive, draws are this share of the games of equal players, and half points as with Elo.
        seat_of_map: Standard deviation of the advantage that a map gives to a seat, which parts the two games of a map.
        suits_of_map: Standard deviation of the advantage that a map gives to a player, which both games of a map share.
    """
    pairs = np.array(list(combinations(range(len(strengths)), 2)))
    one, two = np.repeat(pairs, maps, axis=0).T
    first, second = np.concatenate([one, two]), np.concatenate([two, one])
    known = np.array(strengths)
    suits = suits_of_map * rng.standard_normal(len(one))
    favour = np.tile(seat + seat_of_map * rng.standard_normal(len(one)), 2)
    ahead = known[first] - known[second] + favour + np.concatenate([suits, -suits])
    shares = probabilities(ahead, None if draw_share else log_draw)
    if draw_share:  # taken from wins and losses in equal parts, so that the expected points stay
        draws = 2 * draw_share * shares[:, [0, 2]].min(axis=1)
        shares = np.stack([shares[:, 0] - draws / 2, draws, shares[:, 2] - draws / 2], axis=1)
    results = (rng.random(len(first))[:, None] > shares[:, :2].cumsum(axis=1)).sum(axis=1)
    return GameTable(
        players=NAMES[: len(strengths)],
        board="simulated",
        first=first.astype(np.int32),
        second=second.astype(np.int32),
        results=results.astype(np.int8),
        cut_off=np.zeros(len(first), np.bool_),
        maps=np.tile(np.arange(len(one)), 2),
        counts=np.ones(len(first), np.int64),
    )


def played(first: str, second: str, result: str, number: int = 0, board: str = "8x8") -> PlayedGame:
    """Return a game in which the first seat won (``"1"``), lost (``"0"``), drew (``"="``) or reached the limit (``"-"``)."""
    ended = {"=": DRAW, "-": CUT_OFF}.get(result, WON)
    return PlayedGame((first, second), {"1": 0, "0": 1}.get(result, -1), ended, 80, board, 1, number)
