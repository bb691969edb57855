"""Tests the report of an arena: its numbers, hostile names, links to replays, and the page in Chromium."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from support.arena_games import made_up_games
from support.kept_games import sampled_game

from generals_env.arena.page import write_report
from generals_env.arena.page.charts import scale_of
from generals_env.arena.page.deciding import choose_games
from generals_env.arena.page.summary import summarize
from generals_env.arena.played_game import WON, PlayedGame
from generals_env.arena.statistics.intervals import compare
from generals_env.arena.statistics.sprt import Sprt
from generals_env.errors import ConfigError, StorageError
from generals_env.replay import files

Open = Callable[..., Any]

HOSTILE = (
    "</title></style><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
    "\u202e\x00\ud800{{script}}\"'&amp;"
)
TWELVE = {name: 3.0 - 0.4 * place for place, name in enumerate((HOSTILE, *"abcdefghij", "expander"))}


class Tags(HTMLParser):
    """Collects the elements of a page and the text of table cells."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"

    def links(self) -> list[str]:
        return [unquote(attributes["href"] or "") for tag, attributes in self.tags if tag == "a"]


def game(players: tuple[str, str], winner: int, turns: int, number: int = 0, replay: str = "x") -> PlayedGame:
    return PlayedGame(players, winner, WON if winner >= 0 else "draw", turns, "20x20", 1, number, replay)


def test_report_shows_numbers_of_the_games(tmp_path: Path) -> None:
    games = made_up_games({"hunter": 1.5, "expander": 0.0}, 100)
    report = write_report(
        games, tmp_path / "report.html", command="generals-env arena hunter expander", facts={"Machine": "2 cores"}
    )
    page = Tags(report)
    result = compare(games, "hunter", "expander")
    for text in (
        f"{result.wins}\u2013{result.draws}\u2013{result.losses}",
        f"{100 * result.score.value:.0f}%",
        f"{100 * result.score.low:.0f}\u2013{100 * result.score.high:.0f}",
        "200",
        "generals-env arena hunter expander",
        "2 cores",
        "anchor",
    ):
        assert f"{text}\n" in page.text, text
    assert sum(attributes.get("class") == "dot" for _, attributes in page.tags) == 2
    assert "Sequential test" not in page.text


def test_report_has_no_style_attributes_and_one_script(tmp_path: Path) -> None:
    """The policy of the page forbids style attributes, handlers, and other scripts than its own."""
    games = made_up_games(TWELVE, 1)
    page = Tags(
        write_report(
            games, tmp_path / "report.html", sprt=Sprt(0, 50), tested=HOSTILE, command=HOSTILE, facts={HOSTILE: HOSTILE}
        )
    )
    names = [tag for tag, _ in page.tags]
    assert names.count("script") == names.count("style") == 1
    assert "img" not in names
    attributes = {name for _, given in page.tags for name in given}
    assert not {name for name in attributes if name == "style" or name.startswith("on")}
    policy = next(given["content"] or "" for _, given in page.tags if given.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_report_of_unconnected_players_says_so_and_rates_none(tmp_path: Path) -> None:
    games = made_up_games({"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}, 2, pairs=[("a", "b"), ("c", "d")])
    page = Tags(write_report(games, tmp_path / "report.html"))
    assert "no game connects these 2 groups" in page.text
    assert not any(attributes.get("class") == "dot" for _, attributes in page.tags)


def test_report_draws_the_course_of_a_test(tmp_path: Path) -> None:
    games = made_up_games({"new": 1.5, "old": 0.0, "other": 0.0}, 150)
    page = Tags(write_report(games, tmp_path / "report.html", sprt=Sprt(0, 50), tested="new"))
    assert "accepted: at least 50 Elo better" in page.text
    (points,) = [attributes["points"] or "" for tag, attributes in page.tags if tag == "polyline"]
    assert len(points.split()) == 301  # 600 games of the player, two at a time


def test_report_links_replays_beside_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    files.write(store / "one.generals", sampled_game(0, height=4, width=4, max_turns=10))
    (store / "damaged.generals").write_bytes(b"no game")
    files.write(tmp_path / "outside.generals", sampled_game(0, height=4, width=4, max_turns=10))
    games = [
        game((HOSTILE, "b"), 0, 90, 0, "one.generals"),
        game(("b", HOSTILE), 0, 80, 0, "damaged.generals"),
        game((HOSTILE, "b"), 0, 120, 1, "../outside.generals"),
    ]
    done: list[tuple[int, int]] = []
    report = write_report(games, tmp_path / "my report.html", store=store, on_replay=lambda *counts: done.append(counts))
    page = Tags(report)
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert page.text.count("replay not found") == 2
    links = page.links()
    assert [Path(link).suffix for link in links] == [".html", ".generals"]
    assert {path.name for path in (tmp_path / "my report_replays").iterdir()} == {Path(link).name for link in links}
    assert files.load(tmp_path / links[1]).names == game((HOSTILE, "b"), 0, 1).players


def test_report_chooses_upset_quickest_and_longest_game() -> None:
    quick, long, upset = game(("a", "b"), 0, 90), game(("a", "b"), 0, 900), game(("b", "a"), 0, 300)
    games = [game(("a", "b"), 0, 200), long, upset, quick, game(("a", "b"), 0, 50, replay=""), game(("b", "c"), 0, 10)]
    chosen = choose_games(games, summarize(games), 10)
    assert [(one.why, one.game) for one in chosen if "a" in one.game.players] == [
        ("upset", upset),
        ("quickest win", quick),
        ("longest game", long),
        ("win", games[0]),
    ]
    assert [one.game.players for one in choose_games(games, summarize(games), 2)] == [upset.players, ("b", "c")]


def test_report_refuses_games_that_cannot_be_compared(tmp_path: Path) -> None:
    one = game(("a", "b"), 0, 10)
    for games in ([], [one, replace(one, board="8x8")], [replace(one, players=("a", "b", "c"))]):
        with pytest.raises(ConfigError, match=r"^games: expected"):
            write_report(games, tmp_path / "report.html")
    with pytest.raises(StorageError, match="expected a file that can be written"):
        write_report([one], tmp_path / "missing" / "report.html")
    assert not list(tmp_path.iterdir())


def test_scale_of_a_report_holds_all_finite_numbers() -> None:
    for values in ([1000.0], [0, 0], [-3.5, float("inf"), 1200], [1e-9, 2e-9], []):
        scale = scale_of(values)
        assert scale.low < scale.high
        assert 1 <= len(scale.ticks) <= 12
        assert scale.place(float("inf")) == "100.00%"


def test_report_in_a_browser_runs_no_name_and_fits_a_phone(open_page: Open, tmp_path: Path) -> None:
    games = made_up_games(TWELVE, 1)
    path = write_report(games, tmp_path / "report.html", command=HOSTILE)
    for width, scheme in ((1200, "light"), (390, "dark")):
        page = open_page(path, width=width, color_scheme=scheme)
        assert page.evaluate("window.hacked") is None
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("html").get_attribute("data-theme") == scheme
        page.get_by_role("button", name="Dark").click()
        assert page.locator("html").get_attribute("data-theme") != scheme
        row = page.locator(".players tbody tr", has_text="</title></style><script>window.hacked = 1</script>")
        chart = row.locator(".track").bounding_box()
        assert chart["width"] > 100  # the style of the page was allowed
        assert chart["x"] + chart["width"] <= width
