"""Shows the diagnostics of each player: land, first contact, what became of a lead, length of games, and classes of losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from xml.etree.ElementTree import Element

import numpy as np

from generals_env.arena.diagnostics import LAND_TURNS, LOSSES, STRENGTH_TURNS
from generals_env.arena.figure_sums import PlayerFigures, values_of
from generals_env.arena.page.markup import Child, element, player_name, table
from generals_env.arena.played_game import PlayedGame

__all__ = ["figure_table", "loss_table"]

NONE = "\u2013"


def figure_table(games: Iterable[PlayedGame], figures: Mapping[str, PlayerFigures], players: Sequence[str]) -> Element:
    """Return a table of medians, with the range of the middle 80%, and of shares.

    Args:
        games: The games.
        figures: Their diagnostics by player (``sum_up``).
        players: Players in the order to show.
    """
    seats: dict[str, list[tuple[PlayedGame, int]]] = {}
    for game in games:
        for seat, name in enumerate(game.players):
            seats.setdefault(name, []).append((game, seat))
    head: list[Child] = [""]
    head += [f"Land, turn {turn}" for turn in LAND_TURNS]
    head += ["First contact", "Never met", "Cities held"]
    head += [f"Lead at turn {turn} won" for turn in STRENGTH_TURNS]
    head += ["Turns", "Turns of wins", "Drawn", "Cut off"]
    rows = []
    for name in players:
        played, sums = seats.get(name, []), figures[name]
        rows.append(
            [
                player_name(name),
                *(spread(values_of(played, f"land_{turn}")) for turn in LAND_TURNS),
                spread(values_of(played, "contact")),
                percent_of(round((1 - sums.met) * sums.games), sums.games),
                spread(values_of(played, "cities")),
                *(percent_of(sums.leads[turn].won, sums.leads[turn].games) for turn in STRENGTH_TURNS),
                spread([game.turns for game, _ in played]),
                spread([game.turns for game, seat in played if game.winner == seat]),
                percent_of(round(sums.draws * sums.games), sums.games),
                percent_of(round(sums.cut_offs * sums.games), sums.games),
            ]
        )
    return table(head, rows, class_="figures")


def loss_table(figures: Mapping[str, PlayerFigures], players: Sequence[str]) -> Element | None:
    """Return a table with the number of losses of each class, or None if no game has a class."""
    if not any(sums.losses for sums in figures.values()):
        return None
    rows = []
    for name in players:
        losses = figures[name].losses
        total = sum(losses.values())
        rows.append([player_name(name), f"{total:,}", *(percent_of(losses.get(each, 0), total) for each in LOSSES)])
    return table(["", "Lost", *LOSSES], rows, class_="figures")


def spread(values: Sequence[float]) -> Child:
    """Return the cell of a median with the range of the middle 80%."""
    if not values:
        return NONE
    low, middle, high = np.percentile(values, (10, 50, 90))
    return element("td", number(middle), element("span", f"{number(low)} \u2013 {number(high)}", class_="spread"))


def percent_of(count: int, total: int) -> Child:
    """Return the cell of a count as a share of a total."""
    if not total:
        return NONE
    return element("td", f"{100 * count / total:.0f}%", element("span", f"{count:,} of {total:,}", class_="spread"))


def number(value: float) -> str:
    """Return a number with a decimal where it matters."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
