"""Draws the tables of an arena."""

from __future__ import annotations

import math

from rich.markup import escape
from rich.table import Table

from generals_env.arena.diagnostics import LAND_TURNS, LOSSES, STRENGTH_TURNS
from generals_env.arena.figure_sums import LEAD
from generals_env.arena.report import Report
from generals_env.arena.statistics.intervals import Comparison, Estimate

__all__ = ["crosstable", "faults_text", "figures_table", "losses_table", "pairs_table", "ratings_table", "test_text"]


def share(estimate: Estimate) -> str:
    """Return a rate in percent, its interval below it."""
    return f"{100 * estimate.value:.1f}%\n{100 * estimate.low:.1f}-{100 * estimate.high:.1f}"


def points(estimate: Estimate, between: str = " ") -> str:
    """Return Elo points with their interval; an end that the games do not limit is infinite."""
    low, high = (f"{end:.0f}" if math.isfinite(end) else "-∞" if end < 0 else "∞" for end in (estimate.low, estimate.high))
    value = f"{estimate.value:.0f}" if math.isfinite(estimate.value) else "∞" if estimate.value > 0 else "-∞"
    return value if low == high else f"{value}{between}({low} to {high})"


def pairs_table(report: Report) -> Table:
    """Return results of each pair: rates with 95% intervals."""
    title = f"{len(report.games):,} games, {report.board}"
    table = Table("player", "opponent", "games", "won", "drawn", "lost", "Elo difference", title=title)
    for comparison in report.comparisons.values():
        table.add_row(
            escape(comparison.player),
            escape(comparison.opponent),
            f"{comparison.games:,}",
            share(comparison.win_rate),
            share(comparison.draw_rate),
            share(comparison.loss_rate),
            points(comparison.elo, "\n"),
        )
    cut_off = sum(comparison.cut_offs for comparison in report.comparisons.values())
    table.caption = f"95% intervals; drawn: of these {cut_off:,} games were cut off at the turn limit"
    return table


def crosstable(report: Report) -> Table:
    """Return the score of each player against each other one, in percent."""
    table = Table("", "player", *(str(place) for place in range(1, len(report.players) + 1)), title="score, %")
    for place, one in enumerate(report.players, 1):
        cells = [cell(report.comparisons, one, two) for two in report.players]
        table.add_row(str(place), escape(one), *cells)
    return table


def cell(comparisons: dict[tuple[str, str], Comparison], one: str, two: str) -> str:
    """Return the score of a player against another one, as text."""
    if (one, two) in comparisons:
        return f"{100 * comparisons[one, two].score.value:.0f}"
    if (two, one) in comparisons:
        return f"{100 * (1 - comparisons[two, one].score.value):.0f}"
    return ""


def ratings_table(report: Report) -> Table | None:
    """Return the ratings, None if games do not connect the players."""
    ratings = report.ratings
    if ratings is None:
        return None
    title = f"Elo, {ratings.anchor} = {ratings.anchor_elo:.0f}"
    table = Table("", "player", "Elo", "games", "won", "drawn", "lost", title=title)
    for place, rating in enumerate(ratings.players, 1):
        counts = (rating.games, rating.wins, rating.draws, rating.losses)
        table.add_row(str(place), escape(rating.player), points(rating.elo), *(f"{count:,}" for count in counts))
    notes = [f"the first seat is worth {points(ratings.seat)}", *ratings.notes]
    table.caption = escape("; ".join(notes))
    return table


def figures_table(report: Report) -> Table:
    """Return the diagnostics of each player."""
    turns = "/".join(map(str, LAND_TURNS))
    leads = "/".join(map(str, STRENGTH_TURNS))
    table = Table("player", f"land\n{turns}", "contact", f"led\n{leads}", "drawn", "cities", "turns", title="diagnostics")
    for name in report.players:
        figures = report.figures[name]
        medians = "/".join(f"{values[1]:.0f}" for values in figures.land.values())
        tenths = "/".join(f"{values[2]:.0f}" for values in figures.land.values())
        table.add_row(
            escape(name),
            f"{medians}\n{tenths}",
            "" if figures.contact is None else f"{figures.contact:.0f}\n{100 * figures.met:.0f}%",
            "\n".join(f"{lead.won}/{lead.games}" for lead in figures.leads.values()),
            f"{100 * figures.draws:.0f}%",
            f"{figures.cities:.1f}",
            f"{figures.turns:.0f}",
        )
    table.caption = (
        "land: median and lowest tenth; contact: median turn and share of games; led: games won of those with land and army "
        f"{LEAD} times the enemy's; turns: median"
    )
    return table


def losses_table(report: Report) -> Table:
    """Return why each player lost, in percent of the games lost."""
    kinds = [kind for kind in LOSSES if any(kind in figures.losses for figures in report.figures.values())]
    table = Table("player", "lost", *kinds, title="losses, %")
    for name in report.players:
        losses = report.figures[name].losses
        total = sum(losses.values())
        shares = [f"{100 * losses[kind] / total:.0f}" if kind in losses else "" for kind in kinds]
        table.add_row(escape(name), f"{total:,}", *shares)
    return table


def faults_text(report: Report) -> str:
    """Return the faults of the programs, a line each; empty without faults."""
    faults = {name: figures for name, figures in report.figures.items() if figures.faults}
    return "\n".join(f"{name}: {figures.faults:,} faults in {figures.games:,} games" for name, figures in faults.items())


def test_text(report: Report) -> str:
    """Return the state of the sequential test in one line, empty without one."""
    if report.test is None or report.tested is None:
        return ""
    test, state = report.test, report.test.state
    verdict = {
        "elo1": f"accepted: the difference is {test.elo1:g} rather than {test.elo0:g}",
        "elo0": f"accepted: the difference is {test.elo0:g} rather than {test.elo1:g}",
        None: "not decided",
    }[state.accepted]
    one, two = report.tested
    return (
        f"SPRT of {one} against {two}: {verdict} "
        f"(log likelihood ratio {state.llr:.2f}, bounds {state.lower:.2f} and {state.upper:.2f}, {sum(state.counts)} maps)"
    )
