"""Makes results of games of the arena, as if players of given strength had played them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from generals_env.arena.played_game import CUT_OFF, DRAW, WON, PlayedGame

BOARD = "20x20, generals, 1000 turns"


def made_up_games(
    strengths: Mapping[str, float], maps: int, seed: int = 0, pairs: Iterable[tuple[str, str]] | None = None, **facts: Any
) -> list[PlayedGame]:
    """Return games of pairs of players, two on each map, with figures.

    Args:
        strengths: Of each player; the odds of a win are the exponential of the difference.
        maps: Maps of each pair.
        seed: Of the results.
        pairs: Who plays; default: all pairs.
        facts: Further fields of all games.
    """
    rng, games = np.random.default_rng(seed), []
    for one, two in pairs or combinations(strengths, 2):
        for number in range(maps):
            for players in ((one, two), (two, one)):
                ahead = strengths[players[0]] - strengths[players[1]] + 0.1
                winner = int(rng.random() > 1 / (1 + np.exp(-ahead)))
                ended = WON
                if rng.random() < 0.1:
                    winner, ended = -1, DRAW if rng.random() < 0.3 else CUT_OFF
                turns = 1000 if ended == CUT_OFF else int(rng.integers(90, 700))
                games.append(
                    PlayedGame(players, winner, ended, turns, BOARD, 7, number, **{"figures": figures(rng, winner), **facts})
                )
    return games


def figures(rng: np.random.Generator, winner: int) -> dict[str, tuple[float | None, ...]]:
    """Return figures as the arena measures them."""
    made: dict[str, tuple[float | None, ...]] = {
        name: tuple(float(value) for value in rng.integers(low, high, 2))
        for name, low, high in (
            ("land_25", 2, 8),
            ("land_50", 18, 26),
            ("land_100", 30, 60),
            ("strength_100", 90, 120),
            ("strength_200", 200, 400),
            ("cities", 0, 6),
        )
    }
    contact = tuple(None if rng.random() < 0.1 else float(rng.integers(40, 90)) for _ in range(2))
    losses = [None, None]
    if winner >= 0:
        losses[1 - winner] = float(rng.integers(0, 6))
    return made | {"contact": contact, "loss": tuple(losses)}
