"""Shows the diagnostics of each player: land, first contact, what became of a lead, length of games, and classes of losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from xml.etree.ElementTree import Element

import numpy as np

from generals_env.arena.diagnostics import LAND_TURNS, LOSSES, STRENGTH_TURNS
from generals_env.arena.page.markup import Child, element, player_name, table
from generals_env.arena.played_game import CUT_OFF, PlayedGame

__all__ = ["figure_table", "loss_table"]

NONE = "\u2013"

#: A game and the seat of the player in it.
Seat = tuple[PlayedGame, int]


def figure_table(games: Iterable[PlayedGame], players: Sequence[str]) -> Element:
    """Return a table of medians, with the range of the middle 80%, and of shares."""
    seats = seats_of(games)
    columns: list[tuple[str, Callable[[list[Seat]], Child]]] = [
        *((f"Land, turn {turn}", spread(f"land_{turn}")) for turn in LAND_TURNS),
        ("First contact", spread("contact")),
        ("Cities held", spread("cities")),
        *((f"Lead at turn {turn} won", conversion(f"strength_{turn}")) for turn in STRENGTH_TURNS),
        ("Turns", length),
        ("Turns of wins", length_of_wins),
        ("Drawn", lambda played: share(sum(game.winner < 0 for game, _ in played), len(played))),
        ("Cut off", lambda played: share(sum(game.ended == CUT_OFF for game, _ in played), len(played))),
    ]
    rows = ((player_name(name), *(show(seats.get(name, [])) for _, show in columns)) for name in players)
    return table(["", *(title for title, _ in columns)], rows, class_="figures")


def loss_table(games: Iterable[PlayedGame], players: Sequence[str]) -> Element | None:
    """Return a table with the number of losses of each class, or None if no game has a class."""
    counts: dict[str, Counter[int]] = {}
    for name, played in seats_of(games).items():
        classes = (value_of(game, "loss", seat) for game, seat in played)
        counts[name] = Counter(int(each) for each in classes if each is not None and 0 <= each < len(LOSSES))
    if not any(counts.values()):
        return None
    rows = []
    for name in players:
        lost = counts.get(name, Counter())
        cells = (share(lost[each], lost.total()) for each in range(len(LOSSES)))
        rows.append((player_name(name), f"{lost.total():,}", *cells))
    return table(["", "Lost", *LOSSES], rows, class_="figures")


def seats_of(games: Iterable[PlayedGame]) -> dict[str, list[Seat]]:
    """Return the games and seats of each player."""
    seats: dict[str, list[Seat]] = {}
    for game in games:
        for seat, name in enumerate(game.players):
            seats.setdefault(name, []).append((game, seat))
    return seats


def value_of(game: PlayedGame, name: str, seat: int) -> float | None:
    """Return a figure of a seat; None if there is none, or no number."""
    values = game.figures.get(name, ())
    value = values[seat] if seat < len(values) else None
    return value if isinstance(value, (int, float)) and np.isfinite(value) else None


def spread(name: str) -> Callable[[list[Seat]], Child]:
    """Return what shows the median and the middle 80% of a figure."""

    def show(played: list[Seat]) -> Child:
        return median([value for game, seat in played if (value := value_of(game, name, seat)) is not None])

    return show


def conversion(name: str) -> Callable[[list[Seat]], Child]:
    """Return what shows the share of wins among the games in which the player had more of a figure than the opponent."""

    def show(played: list[Seat]) -> Child:
        ahead = won = 0
        for game, seat in played:
            own, other = value_of(game, name, seat), value_of(game, name, 1 - seat)
            if own is not None and other is not None and own > other:
                ahead += 1
                won += game.winner == seat
        return share(won, ahead)

    return show


def length(played: list[Seat]) -> Child:
    """Show the lengths of games."""
    return median([game.turns for game, _ in played])


def length_of_wins(played: list[Seat]) -> Child:
    """Show the lengths of games that the player won."""
    return median([game.turns for game, seat in played if game.winner == seat])


def median(values: Sequence[float]) -> Child:
    """Return a median with the range of the middle 80%."""
    if not values:
        return NONE
    low, middle, high = np.percentile(values, (10, 50, 90))
    return element("td", number(middle), element("span", f"{number(low)} \u2013 {number(high)}", class_="spread"))


def number(value: float) -> str:
    """Return a number with a decimal where it matters."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def share(count: int, total: int) -> Child:
    """Return a count as a share of a total."""
    if not total:
        return NONE
    return element("td", f"{100 * count / total:.0f}%", element("span", f"{count:,} of {total:,}", class_="spread"))
