"""Tests the page in Chromium: playing, seeking, views, keys, comparison, hostile texts, themes and phones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.kept_games import sampled_game

from generals_env.errors import ConfigError, StorageError
from generals_env.replay.recorded_game import RecordedGame
from generals_env.viewer import show, write_page

Open = Callable[..., Any]

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>\u2028\u2029\u202e\x00{{script}}&amp;\"'`${window.hacked = 1}",
)


@cache
def short_game(seed: int = 0) -> RecordedGame:
    """Return a game of 40 turns with names, and values and probabilities of the first player."""
    game = sampled_game(seed, height=6, width=7, max_turns=40)
    probabilities = np.zeros((40, 2, 8 * 42 + 1))
    probabilities[np.arange(40), 0, game.actions[:, 0]] = 0.75
    values = np.linspace(-1, 1, 80, dtype=np.float32).reshape(40, 2)
    return replace(game, names=(f"Ada {seed}", f"Bob {seed}"), values=values, probabilities=probabilities)


def turn_of(page: Any) -> int:
    return int(page.locator("#timeline").input_value())


def test_page_plays_to_the_end_and_pauses(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write_page([short_game()], tmp_path / "page.html", speed=128))
    assert page.title() == page.locator("h1").inner_text() == "Ada 0 \u2013 Bob 0"
    assert page.locator("#turn").inner_text() == "Turn 0 / 40"
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator("#turn", has_text="Turn 40 / 40").wait_for()
    assert page.locator("#turn").inner_text() == "Turn 40 / 40"
    page.get_by_role("button", name="Play", exact=True).click()  # from the beginning
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="First turn").click()
    page.get_by_role("button", name="One turn on").click()
    assert turn_of(page) == 1


def test_page_shows_scores_and_what_an_agent_did(open_page: Open, tmp_path: Path) -> None:
    game = short_game()
    page = open_page(write_page([game], tmp_path / "page.html", turn=25))
    rows = page.locator(".scores tbody tr")
    for player in range(2):
        owned = game.boards.owner[25] == player
        cells = [cell.inner_text() for cell in rows.nth(player).locator("td").all()]
        assert cells[:2] == [str(game.boards.army[25][owned].sum()), str(owned.sum())]
    assert game.values is not None
    agent = page.locator(".agent").first.inner_text()
    assert f"{game.values[25, 0]:.3f}".replace("-", "\u2212") in agent
    assert "75 %" in agent
    assert page.locator(".agent").nth(1).locator(".likeliest").is_hidden()
    page.get_by_role("button", name="Return").click()
    assert page.locator(".graph").get_attribute("aria-label") == "Return of each player over the turns"
    box = page.locator(".graph").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 5, box["y"] + 40)
    assert turn_of(page) == 40


def test_page_hides_what_a_player_does_not_see(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write_page([short_game()], tmp_path / "page.html", player=0, turn=3))
    # The middle of a tile of the other player's land, as state, as pixels and as text.
    script = """() => {
      const panel = viewer.panels[0], { owner } = panel.game.at(panel.frame), tile = owner.indexOf(1);
      const { canvas, size } = panel.view, { columns } = panel.game, box = canvas.getBoundingClientRect();
      const column = tile % columns, row = Math.floor(tile / columns);
      const copy = Object.assign(document.createElement("canvas"), { width: size, height: size });
      const context = copy.getContext("2d", { willReadFrequently: true });
      context.drawImage(canvas, -column * size, -row * size);
      const pixels = [...context.getImageData(0, 0, size, size).data];
      const place = [box.left + (column + 0.5) * box.width / columns, box.top + (row + 0.5) * box.height / panel.game.rows];
      return { seen: panel.seen && panel.seen[tile], pixels, place };
    }"""
    blue = [0x28, 0x6E, 0xC8, 255]

    def has_color(found: dict[str, Any]) -> bool:
        return any(found["pixels"][i : i + 4] == blue for i in range(0, len(found["pixels"]), 4))

    hidden = page.evaluate(script)
    assert hidden["seen"] == 0
    assert not has_color(hidden)
    page.mouse.move(*hidden["place"])
    assert page.locator(".tile-text").inner_text().endswith(": in fog")
    page.keyboard.press("0")
    whole = page.evaluate(script)
    assert whole["seen"] is None
    assert has_color(whole)
    assert "Bob 0, general, army" in page.locator(".tile-text").inner_text()
    page.locator(".seat").first.click()
    assert page.locator(".view-select").input_value() == "0"
    assert not has_color(page.evaluate(script))


def test_keys_move_through_the_game(open_page: Open, tmp_path: Path) -> None:
    page = open_page(write_page([short_game()], tmp_path / "page.html"))
    turns = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "Shift+ArrowRight", "End", "Shift+ArrowLeft", "Home"):
        page.keyboard.press(key)
        turns.append(turn_of(page))
    assert turns == [1, 2, 1, 26, 40, 15, 0]
    moments = page.evaluate("viewer.moments")
    assert moments
    page.keyboard.press("]")
    assert turn_of(page) == moments[0]
    page.keyboard.press("Home")
    page.focus("#timeline")
    page.keyboard.press("ArrowRight")  # once, though the slider has keys of its own
    assert turn_of(page) == 1
    page.keyboard.press("2")
    assert page.evaluate("viewer.panels[0].player") == 1
    page.keyboard.press("v")
    assert page.evaluate("viewer.panels[0].player") == -1
    page.keyboard.press("+")
    assert page.locator("#speed").input_value() == "16"
    page.keyboard.press("a")
    page.keyboard.press("h")
    assert page.evaluate("viewer.options") == {"arrows": False, "heat": False}
    page.keyboard.press("?")
    assert "one turn back" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    page.keyboard.press("Space")
    assert page.evaluate("viewer.playing")
    page.keyboard.press("Space")
    assert not page.evaluate("viewer.playing")


def test_keys_read_the_board_tile_by_tile(open_page: Open, tmp_path: Path) -> None:
    game = short_game()
    page = open_page(write_page([game], tmp_path / "page.html", turn=30))
    page.keyboard.press("1")
    page.keyboard.press("0")
    page.locator(".view-select").focus()
    page.keyboard.press("Tab")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.locator(".tile-text").inner_text().startswith("Row 0, column 1: ")
    assert page.evaluate("viewer.panels[0].view.state.cursor") == 1
    assert turn_of(page) == 30
    page.keyboard.press("Shift+ArrowLeft")
    assert turn_of(page) == 5
    page.keyboard.press("Tab")
    assert page.evaluate("viewer.panels[0].view.state.cursor") == -1
    page.locator(".board").click()  # a click gives no cursor
    page.keyboard.press("ArrowRight")
    assert turn_of(page) == 6
    page.goto(f"{page.url}#turn=12")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert turn_of(page) == 12


def test_two_games_stand_side_by_side_in_the_same_turn(open_page: Open, tmp_path: Path) -> None:
    other = sampled_game(5, height=5, width=8, max_turns=15)
    other.boards.games["turn"] += 5  # recorded from turn 5 on
    page = open_page(write_page([short_game(), other], tmp_path / "page.html", compare=True))
    frames = "viewer.panels.map((panel) => panel.frame)"
    page.evaluate("viewer.seek(9)")
    assert page.evaluate(frames) == [9, 4]
    page.keyboard.press("End")
    assert page.evaluate(frames) == [40, 15]
    assert page.locator(".panel-over").all_inner_texts() == ["", "ended in turn 20"]
    boards = [board.bounding_box() for board in page.locator(".board").all()]
    assert boards[0]["x"] + boards[0]["width"] < boards[1]["x"]
    page.get_by_role("button", name="Both seats").click()
    assert page.locator(".panel-name").all_inner_texts() == ["Ada 0", "Bob 0"]
    page.keyboard.press("b")
    assert page.locator(".panel").count() == 1
    page.select_option("#game", "1")
    page.locator("#turn", has_text="Turn 5 / 20").wait_for()


def test_texts_of_other_people_are_shown_and_never_run(open_page: Open, tmp_path: Path) -> None:
    texts = {"names": HOSTILE, "id": HOSTILE[0], "details": {HOSTILE[1]: HOSTILE[0]}}
    game = replace(short_game(), **texts)  # type: ignore[arg-type]
    page = open_page(write_page([game, game], tmp_path / "page.html", title=HOSTILE[0] + "\ud800", turn=12))
    for key in ("c", "b", "b", "1", "v", "End", "?"):
        page.keyboard.press(key)
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("viewer.heads[0].names") == list(HOSTILE)
    assert page.locator(".seat-name").first.inner_text() == HOSTILE[0]
    assert page.title() == HOSTILE[0] + "?"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 4  # facts, two games, and the page's own
    frame = show(game)._repr_html_()
    assert frame.count("<") == 2  # of the frame itself
    assert frame.startswith('<iframe sandbox="allow-scripts" srcdoc="&lt;!DOCTYPE html')


def test_page_forbids_all_requests_and_scripts_of_others(browser: Any, tmp_path: Path) -> None:
    page = browser.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(write_page([short_game()], tmp_path / "page.html").as_uri())
    page.wait_for_selector("html[data-ready]")
    page.evaluate("""async () => {
      const script = document.createElement("script");
      script.textContent = "window.hacked = 1";
      document.body.append(script);
      const image = document.createElement("img");
      image.src = "https://example.invalid/";
      document.body.append(image);
      await fetch("https://example.invalid/").catch(() => 0);
    }""")
    assert page.evaluate("window.hacked") is None
    assert sum("Content Security Policy" in text for text in refused) >= 3
    page.close()


def test_notebook_shows_a_page_in_a_frame(open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "notebook.html").write_text(f"<html data-ready>{show(short_game(), turn=7)._repr_html_()}")
    page = open_page(tmp_path / "notebook.html")
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for()
    assert frame.locator("#turn").inner_text() == "Turn 7 / 40"
    frame.locator("#theme").click()  # works without storage


def test_theme_follows_the_system_and_the_reader(open_page: Open, tmp_path: Path) -> None:
    path = write_page([short_game()], tmp_path / "page.html")
    page = open_page(path, color_scheme="dark", reduced_motion="reduce")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(20, 22, 26)"
    page.keyboard.press("t")
    assert page.evaluate(background) == "rgb(244, 242, 236)"
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate(background) == "rgb(20, 22, 26)"


@pytest.mark.parametrize("compare", [False, True])
def test_page_fits_a_phone(compare: bool, open_page: Open, tmp_path: Path) -> None:
    big = sampled_game(players=16, height=64, width=64, max_turns=1)
    games = [replace(big, names=tuple("a very long name without end" for _ in range(16))), short_game()]
    page = open_page(write_page(games, tmp_path / "page.html", compare=compare), 360, 640, device_scale_factor=3)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    board = page.locator(".board").first.bounding_box()
    assert 0 <= board["x"] < board["x"] + board["width"] <= 360
    assert page.locator(".board").first.evaluate("canvas => canvas.width / canvas.getBoundingClientRect().width") == 3


def test_pages_with_wrong_arguments_are_refused(tmp_path: Path) -> None:
    for options, text in (
        ({"speed": 3}, "speed: expected one of 1, 2, 4"),
        ({"player": 2}, "player: expected None or an index from 0 to 1, got 2"),
        ({"compare": True}, "compare: expected False with one game"),
    ):
        with pytest.raises(ConfigError, match=text):
            write_page([short_game()], tmp_path / "page.html", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="games: expected one game or more, got none"):
        write_page([], tmp_path / "page.html")
    with pytest.raises(StorageError, match="expected a file that can be written"):
        write_page([short_game()], tmp_path / "no folder" / "page.html")
    assert list(tmp_path.iterdir()) == []
