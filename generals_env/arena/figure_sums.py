"""Sums up the diagnostics of games by player: ``sum_up``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from generals_env.arena.diagnostics import LAND_TURNS, LOSSES, STRENGTH_TURNS
from generals_env.arena.played_game import CUT_OFF, PlayedGame

__all__ = ["LEAD", "Lead", "PlayerFigures", "sum_up"]

#: A player leads whose land and army are this many times those of the enemy.
LEAD = 1.1


@dataclass(frozen=True)
class Lead:
    """Games in which a player led after some turns, and those of them that he won."""

    games: int
    won: int


@dataclass(frozen=True)
class PlayerFigures:
    """Diagnostics of the games of one player against all others.

    Attributes:
        games: Number of games.
        land: Mean, median and lowest tenth of the land by turn, of games that had not ended; empty without such games.
        contact: Median of the turns after which he first saw a tile of an enemy; None if he never did.
        met: Share of games in which he did.
        leads: Leads by turn, see ``LEAD``.
        draws: Share of games without a winner.
        cut_offs: Share of games that were cut off.
        cities: Mean of the maximum of cities or castles held.
        turns: Median length of a game.
        turns_won: Median length of games won; None without one.
        losses: Number of losses by class, see ``diagnostics``.
        faults: Faults of a program: replies that were late or no action, and lines without a question; None for others.
    """

    games: int
    land: dict[int, tuple[float, float, float]]
    contact: float | None
    met: float
    leads: dict[int, Lead]
    draws: float
    cut_offs: float
    cities: float
    turns: float
    turns_won: float | None
    losses: dict[str, int]
    faults: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON; keys are texts."""
        fields = asdict(self)
        fields["land"] = {
            str(turn): dict(zip(("mean", "median", "tenth"), values, strict=True)) for turn, values in self.land.items()
        }
        fields["leads"] = {str(turn): asdict(lead) for turn, lead in self.leads.items()}
        return fields


def sum_up(games: Iterable[PlayedGame]) -> dict[str, PlayerFigures]:
    """Return the diagnostics of each player."""
    seats: dict[str, list[tuple[PlayedGame, int]]] = {}
    for game in games:
        for seat, name in enumerate(game.players):
            seats.setdefault(name, []).append((game, seat))
    return {name: of_player(played) for name, played in sorted(seats.items())}


def of_player(played: list[tuple[PlayedGame, int]]) -> PlayerFigures:
    """Return the diagnostics of one player from games and the seats he had in them."""
    count = len(played)
    land = {}
    for turn in LAND_TURNS:
        if values := values_of(played, f"land_{turn}"):
            land[turn] = (float(np.mean(values)), float(np.median(values)), float(np.percentile(values, 10)))
    contacts = values_of(played, "contact")
    cities = values_of(played, "cities")
    classes = Counter(LOSSES[int(value)] for value in values_of(played, "loss") if 0 <= value < len(LOSSES))
    faults = values_of(played, "faults")
    turns_won = [game.turns for game, seat in played if game.winner == seat]
    return PlayerFigures(
        games=count,
        land=land,
        contact=float(np.median(contacts)) if contacts else None,
        met=len(contacts) / count,
        leads={turn: lead_of(played, turn) for turn in STRENGTH_TURNS},
        draws=sum(game.winner < 0 for game, _ in played) / count,
        cut_offs=sum(game.ended == CUT_OFF for game, _ in played) / count,
        cities=float(np.mean(cities)) if cities else 0.0,
        turns=float(np.median([game.turns for game, _ in played])),
        turns_won=float(np.median(turns_won)) if turns_won else None,
        losses={name: classes[name] for name in LOSSES if classes[name]},
        faults=int(sum(faults)) if faults else None,
    )


def values_of(played: list[tuple[PlayedGame, int]], name: str) -> list[float]:
    """Return the values of a figure for a player, where it has one."""
    values = (game.figures[name][seat] for game, seat in played if name in game.figures)
    return [value for value in values if value is not None]


def lead_of(played: list[tuple[PlayedGame, int]], turn: int) -> Lead:
    """Return in how many games a player led after some turns, and how many of them he won."""
    games = won = 0
    for game, seat in played:
        own, other = (game.figures.get(f"strength_{turn}", (None, None))[place] for place in (seat, 1 - seat))
        if own is not None and other is not None and own > LEAD * other:
            games += 1
            won += game.winner == seat
    return Lead(games, won)
