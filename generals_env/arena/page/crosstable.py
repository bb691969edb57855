"""Shows the results of each pair of players: a row's player against a column's player."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from generals_env.arena.page.markup import element, player_name, short
from generals_env.arena.page.players import percent
from generals_env.arena.page.summary import Summary
from generals_env.arena.statistics.intervals import Comparison

__all__ = ["crosstable"]

COLORS = 10  # steps of the scale of colours above the first
MAX_WITH_RATES = 4  # players of a table whose cells have room for the rate of wins


def crosstable(summary: Summary) -> Element:
    """Return a table whose cells are coloured by the score of the row's player."""
    head = element("tr", element("td", class_="corner"), element("td"))
    body = element("tbody")
    for column, other in enumerate(summary.players, 1):
        head.append(element("th", element("abbr", str(column), title=other), scope="col"))
    for number, name in enumerate(summary.players, 1):
        row = element("tr", element("td", str(number), class_="place"), element("th", player_name(name), scope="row"))
        for other in summary.players:
            row.append(pair_cell(summary.pairs.get((name, other)), name == other, len(summary.players) <= MAX_WITH_RATES))
        body.append(row)
    return element("table", element("thead", head), body, class_="crosstable")


def pair_cell(result: Comparison | None, same: bool, with_rate: bool) -> Element:
    """Return the cell of one pair."""
    if result is None:
        return element("td", "" if same else "\u2013", class_="same" if same else "never")
    score, wins = result.score, result.win_rate
    rate = f"wins {percent(wins.value, 1)} ({percent(wins.low, 1)} to {percent(wins.high, 1)})"
    counts = f"{result.wins:,} won, {result.draws:,} drawn, {result.losses:,} lost"
    cell = element(
        "td",
        element("b", percent(score.value)),
        element("span", f"{100 * score.low:.0f}\u2013{100 * score.high:.0f}", class_="interval"),
        element("span", f"{result.wins:,}\u2013{result.draws:,}\u2013{result.losses:,}", class_="counts"),
        class_=f"pair share-{round(COLORS * score.value)}",
        title=f"{short(result.player)} against {short(result.opponent)}: {counts}; {rate}",
    )
    if with_rate:
        cell.append(element("span", rate, class_="rate"))
    return cell
