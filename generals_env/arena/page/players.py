"""Shows the players: ratings with their intervals, results, and results by seat."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.etree.ElementTree import Element

from generals_env.arena.page.charts import Scale, axis, interval_chart, scale_of, share_bar
from generals_env.arena.page.markup import Child, element, player_name
from generals_env.arena.page.summary import Counts, Summary
from generals_env.arena.statistics.intervals import Estimate

__all__ = ["percent", "player_table", "points", "triple"]

MINUS = "\u2212"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.{digits}f}%"


def points(value: float) -> str:
    """Return a rating as text, with a real minus; an end that the games do not limit is infinite."""
    if not math.isfinite(value):
        return MINUS + "\u221e" if value < 0 else "\u221e"
    return f"{value:,.0f}".replace("-", MINUS)


def player_table(summary: Summary, ratings: Mapping[str, Estimate], scale_name: str) -> Element:
    """Return a table with a row for each player.

    Args:
        summary: What the games add up to.
        ratings: Ratings by player; empty if there are none.
        scale_name: Says what ratings are, such as "Elo, expander = 1000".
    """
    rated = [ratings[name] for name in summary.players if name in ratings]
    scale = scale_of([number for estimate in rated for number in estimate])
    columns: list[tuple[str, Child]] = [("place", ""), ("who", "Player")]
    if rated:
        columns += [("rating", scale_name), ("plot", axis(scale))]
    columns += [("results", "Won \u00b7 drawn \u00b7 lost"), ("count", "Games"), ("seat", "Seat 1"), ("seat", "Seat 2")]
    titles = (element("th", text, class_=name, scope="col") for name, text in columns)
    made = element("table", element("thead", element("tr", *titles)), class_="players")
    body = element("tbody")
    for place, name in enumerate(summary.players, 1):
        counts = summary.of_player(name)
        row = element("tr", element("td", str(place), class_="place"))
        row.append(element("th", player_name(name), class_="who", scope="row"))
        if rated:
            row.extend(rating_cells(ratings.get(name), scale))
        row.append(element("td", results_bar(counts), element("span", triple(counts), class_="numbers"), class_="results"))
        row.append(element("td", f"{counts.games:,}", class_="count"))
        row.extend(
            element("td", percent(seat.score) if seat.games else "\u2013", class_="seat") for seat in summary.seats[name]
        )
        body.append(row)
    made.append(body)
    return made


def rating_cells(rating: Estimate | None, scale: Scale) -> list[Element]:
    """Return the cells with the rating of a player as text and as a chart."""
    if rating is None:
        return [element("td", "\u2013", class_="rating"), element("td", class_="plot")]
    fixed = rating.low == rating.high
    span = "anchor" if fixed else f"{points(rating.low)} to {points(rating.high)}"
    number = element("td", element("b", points(rating.value)), " ", element("span", span, class_="soft"), class_="rating")
    chart = interval_chart(
        scale, rating.low, rating.value, rating.high, f"{points(rating.value)}, {'' if fixed else 'interval '}{span}"
    )
    return [number, element("td", chart, class_="plot")]


def results_bar(counts: Counts) -> Element:
    """Return a bar of wins, draws and losses."""
    label = f"{counts.wins:,} won, {counts.draws:,} drawn, {counts.losses:,} lost"
    return share_bar([("win", counts.wins), ("draw", counts.draws), ("loss", counts.losses)], label)


def triple(counts: Counts) -> str:
    """Return wins, draws and losses as text."""
    return f"{counts.wins:,} \u00b7 {counts.draws:,} \u00b7 {counts.losses:,}"
