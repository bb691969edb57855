"""Writes the report of an arena: one page with ratings, results, diagnostics, and links to replays beside it."""

from __future__ import annotations

import html
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element

import numpy as np

from generals_env.arena.figure_sums import LEAD, sum_up
from generals_env.arena.page.crosstable import crosstable
from generals_env.arena.page.deciding import choose_games
from generals_env.arena.page.figures import figure_table, loss_table
from generals_env.arena.page.game_links import game_table, write_replays
from generals_env.arena.page.markup import element, html_of, plain, short
from generals_env.arena.page.players import percent, player_table, points
from generals_env.arena.page.sequential_test import course_card
from generals_env.arena.page.summary import Summary, summarize
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.connected import connected_groups
from generals_env.arena.statistics.ratings import Ratings, rate
from generals_env.arena.statistics.sprt import Sprt
from generals_env.replay.files import write_file
from generals_env.version import __version__
from generals_env.viewer.bundle import asset, fill_template, join_scripts, join_styles

__all__ = ["write_report"]

PACKAGE = "generals_env.arena.page"
MAX_REPLAYS = 24
SHOWN_PLAYERS = 3  # in a title


def write_report(
    games: Iterable[PlayedGame],
    path: str | Path,
    *,
    ratings: Ratings | None = None,
    sprt: Sprt | None = None,
    tested: str = "",
    store: str | Path | None = None,
    max_replays: int = MAX_REPLAYS,
    title: str = "",
    command: str = "",
    facts: Mapping[str, str] | None = None,
    on_replay: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a report of games as one HTML file for any browser, which loads nothing from a network.

    With ``store``, the folder ``NAME_replays`` beside the page gets a page and a game file of each game that is linked.

    Names of players are texts of other people: the page shows them as text, whatever they contain.

    Args:
        games: Games of one kind between two players, in the order in which they were played.
        path: File to write; replaced if it is there.
        ratings: Ratings to show; default: those of the games, or none if the games do not connect all players.
        sprt: A sequential test whose course is shown.
        tested: Player that it tests.
        store: Folder that ``PlayedGame.replay`` is relative to; None links to no replays.
        max_replays: Highest number of replays that are linked.
        title: Title of the page; "" for the players.
        command: The command that played the games.
        facts: Further facts by name, such as the machine.
        on_replay: Called with the number of replays written, and of all.

    Returns:
        The path.

    Raises:
        ConfigError: If there are no games, or games of more than one kind or of more than two players.
        StorageError: If a file cannot be written; nothing half-written stays.
    """
    games, path = list(games), Path(path)
    groups = connected_groups(games)
    if ratings is None and len(groups) == 1:
        ratings = rate(games)
    summary = summarize(games, [rating.player for rating in ratings.players] if ratings else (), groups)
    cards = [facts_card(games, summary), players_card(summary, ratings, groups), crosstable_card(summary)]
    if sprt is not None:
        cards.append(course_card(sprt, games, tested))
    cards.append(figures_card(games, summary))
    if store is not None:
        chosen = choose_games(games, summary, max_replays)
        folder = path.with_name(f"{path.stem}_replays")
        if chosen:
            names = write_replays(chosen, Path(store), folder, on_replay)
            cards.append(
                card("Games that decided", LINKS_HINT, scrolled(game_table(chosen, names, quote(folder.name)), "Games"))
            )
    cards.append(about_card(games, command, facts or {}))
    text = fill_template(
        asset("report.html", PACKAGE),
        join_styles(("theme", "report"), PACKAGE),
        join_scripts("report", PACKAGE),
        {"title": html.escape(plain(title or title_of(summary))), "body": html_of(cards)},
    )
    write_file(path, text.encode())
    return path


LINKS_HINT = (
    "Of each pair: upsets, which the player won that lost more games of the two, quick wins of the other, and the longest "
    "game with a replay. The winner is underlined."
)
CROSS_HINT = (
    "Each row's player against each column's: points of 100 (a draw or a game that was cut off is half a point), their "
    "95% interval, and games won\u2013drawn\u2013lost. Blue is good for the row's player, orange is bad."
)
FIGURES_HINT = f"Medians, below them the range of the middle 80%. A lead: land and army are {LEAD} times the enemy's."
LOSSES_HINT = "Why games were lost, by the board shortly before the end: the first class that fits."


def title_of(summary: Summary) -> str:
    """Return the names of the players, or their number if there are many."""
    names = tuple(short(name) for name in summary.players)
    return " \u2013 ".join(names) if len(names) <= SHOWN_PLAYERS else f"{names[0]} and {len(names) - 1} others"


def card(heading: str, hint: str, *children: Element) -> Element:
    """Return a section of the page."""
    return element("section", element("h2", heading), element("p", hint, class_="hint"), *children, class_="card")


def scrolled(child: Element, name: str) -> Element:
    """Return an element that scrolls sideways where it is too wide; the keyboard reaches it by its name."""
    return element("div", child, class_="scroll", tabindex="0", role="region", aria_label=name)


def described(facts: Iterable[tuple[str, str | Element]], name: str) -> Element:
    """Return a list of names and values."""
    made = element("dl", class_=name)
    for term, value in facts:
        made.append(element("div", element("dt", term), element("dd", value)))
    return made


def facts_card(games: Sequence[PlayedGame], summary: Summary) -> Element:
    """Return the card with the main numbers."""
    seats = [game.winner for game in games if game.winner >= 0]
    facts: list[tuple[str, str | Element]] = [
        ("Games", f"{len(games):,}"),
        ("Players", f"{len(summary.players):,}"),
        ("Maps", f"{len({(game.seed, game.map) for game in games}):,}"),
        ("Drawn or cut off", percent(1 - len(seats) / len(games), 1)),
        ("Median turns", f"{np.median([game.turns for game in games]):,.0f}"),
        ("Wins of seat 1", percent(seats.count(0) / len(seats), 1) if seats else "\u2013"),
        ("Board", games[0].board),
    ]
    return element("section", described(facts, "facts"), class_="card")


def players_card(summary: Summary, ratings: Ratings | None, groups: Sequence[Sequence[str]]) -> Element:
    """Return the card with the ratings and results of each player, or with the reason why there are no ratings."""
    shown = {rating.player: rating.elo for rating in ratings.players} if ratings else {}
    scale_name = f"Elo ({short(ratings.anchor)} = {ratings.anchor_elo:,.0f})" if ratings else ""
    made = element("section", element("h2", "Players"), class_="card")
    if ratings is None:
        listed = element("ul", *(element("li", ", ".join(short(name) for name in group)) for group in groups))
        text = f"No ratings: no game connects these {len(groups)} groups of players, so nothing tells which is stronger."
        made.append(element("div", element("p", text), listed, class_="notice"))
    else:
        seat = f"Seat 1 is worth {points(ratings.seat.value)} Elo ({points(ratings.seat.low)} to {points(ratings.seat.high)})."
        text = f"Points with {percent(ratings.level)} intervals of the difference to the anchor. {seat}"
        made.append(element("p", text, class_="hint"))
    made.append(element("div", player_table(summary, shown, scale_name), class_="scroll"))
    legend = element("ul", class_="legend")
    for name, text in (("win", "won"), ("draw", "drawn or cut off"), ("loss", "lost")):
        swatch = element("svg", element("rect", class_=name, width="100%", height="100%"), aria_hidden="true")
        legend.append(element("li", swatch, text))
    made.append(legend)
    for note in ratings.notes if ratings else ():
        made.append(element("p", f"Note: {note}.", class_="hint note"))
    return made


def crosstable_card(summary: Summary) -> Element:
    """Return the card with the results of each pair."""
    return card("Crosstable", CROSS_HINT, scrolled(crosstable(summary), "Crosstable"))


def figures_card(games: Sequence[PlayedGame], summary: Summary) -> Element:
    """Return the card with the diagnostics."""
    sums = sum_up(games)
    made = card("Diagnostics", FIGURES_HINT, scrolled(figure_table(games, sums, summary.players), "Diagnostics"))
    losses = loss_table(sums, summary.players)
    if losses is not None:
        made.extend([element("h2", "Losses"), element("p", LOSSES_HINT, class_="hint"), scrolled(losses, "Losses")])
    return made


def about_card(games: Sequence[PlayedGame], command: str, facts: Mapping[str, str]) -> Element:
    """Return the card that says how the games came about."""
    seeds = sorted({game.seed for game in games})
    lines: list[tuple[str, str | Element]] = [("Command", element("code", command))] if command else []
    lines += [
        ("Seeds" if len(seeds) > 1 else "Seed", ", ".join(map(str, seeds[:10])) + (" \u2026" if len(seeds) > 10 else "")),
        ("generals_env", __version__),
        ("Python", platform.python_version()),
        *facts.items(),
    ]
    return element("section", element("h2", "About these games"), described(lines, "about"), class_="card")
