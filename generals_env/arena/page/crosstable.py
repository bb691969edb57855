"""Shows the results of each pair of players: a row's player against a column's player."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from generals_env.arena.page.markup import element, player_name
from generals_env.arena.page.players import percent
from generals_env.arena.page.summary import Summary
from generals_env.arena.statistics.intervals import Comparison

__all__ = ["crosstable"]

COLORS = 10  # steps of the scale of colours above the first


def crosstable(summary: Summary) -> Element:
    """Return a table whose cells are coloured by the score of the row's player."""
    head = element("tr", element("td", class_="corner"), element("td"))
    body = element("tbody")
    for column, other in enumerate(summary.players, 1):
        head.append(element("th", element("abbr", str(column), title=other), scope="col"))
    for number, name in enumerate(summary.players, 1):
        row = element("tr", element("td", str(number), class_="place"), element("th", player_name(name), scope="row"))
        for other in summary.players:
            row.append(pair_cell(summary.pairs.get((name, other)), same=name == other))
        body.append(row)
    return element("table", element("thead", head), body, class_="crosstable")


def pair_cell(result: Comparison | None, same: bool) -> Element:
    """Return the cell of one pair."""
    if result is None:
        return element("td", "" if same else "\u2013", class_="same" if same else "never")
    score = result.score
    counts = f"{result.wins:,}\u2013{result.draws:,}\u2013{result.losses:,}"
    low, high = round(100 * score.low), round(100 * score.high)
    said = (
        f"{result.player} against {result.opponent}: {result.wins:,} won, {result.draws:,} drawn, {result.losses:,} lost; "
        f"wins {percent(result.win_rate.value, 1)} ({percent(result.win_rate.low, 1)} to {percent(result.win_rate.high, 1)})"
    )
    return element(
        "td",
        element("b", percent(score.value)),
        element("span", f"{low}\u2013{high}", class_="interval"),
        element("span", counts, class_="counts"),
        class_=f"pair share-{round(COLORS * score.value)}",
        title=said,
    )
