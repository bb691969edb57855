"""Plays games in Chromium from the first click to the saved replay: with keys, with the mouse, and on a phone."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import PATIENCE
from support.play_games import run_async, serving

from generals_env import replay

PROGRAM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")


@asynccontextmanager
async def opened(address: str, seen: list[str], **options: Any) -> AsyncIterator[Any]:
    """Open the address in a new browser; requests to other places and errors of the page are added to ``seen``."""
    async with api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        context = await browser.new_context(**options)
        context.set_default_timeout(1000 * PATIENCE)
        page = await context.new_page()
        origin = address.partition("/?")[0]
        page.on("request", lambda request: None if request.url.startswith(origin) else seen.append(request.url))
        page.on("console", lambda line: seen.append(line.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        await page.goto(address)
        yield page
        await browser.close()


async def tap(page: Any, tile: int, rows: int, columns: int, touch: bool = False) -> None:
    """Click or tap the middle of a tile."""
    box = await page.locator("#board").bounding_box()
    x = box["x"] + (tile % columns + 0.5) * box["width"] / columns
    y = box["y"] + (tile // columns + 0.5) * box["height"] / rows
    await (page.touchscreen.tap(x, y) if touch else page.mouse.click(x, y))


def test_person_wins_a_game_in_the_browser_and_saves_it(tmp_path: Path) -> None:
    """The person is stronger from the start, walks to the other general by keys, and takes it."""
    seen: list[str] = []

    async def scenario() -> None:
        game = {"map": "A -400 . .\n. . . .\n. # . B\n. . . .", "max_turns": 4000}
        async with serving(speed=50, game=game) as server, opened(server.address, seen) as page:
            await page.get_by_role("button", name="Start").click()
            await tap(page, 1, 4, 4)  # a neutral tile: nothing is selected
            assert await page.locator("#tile-text").inner_text() == ""
            await page.keyboard.press("g")
            assert "Row 1, column 1: your general" in await page.locator("#tile-text").inner_text()
            session = server.table.session
            while await page.locator("#result").is_hidden():
                # Along the first row to the right, down to the other general, and back, until it is taken.
                await page.keyboard.press("g")
                for key in ("d", "ArrowRight", "d", "s", "ArrowDown", "s", "w"):
                    await page.keyboard.press(key)
                await page.wait_for_timeout(150)
                if session.turn > 3000:
                    break
            await page.get_by_role("heading", name="Victory").wait_for()
            for kind in ("generals", "gior", "html"):
                async with page.expect_download() as download:
                    await page.locator(f"#save-{kind}").click()
                await (await download.value).save_as(tmp_path / f"game.{kind}")
            played = session.recorded()
            for name in ("game.generals", "game.gior"):
                again = replay.load(tmp_path / name)
                assert again.names == ("You", "random")
                assert (again.boards.owner == played.boards.owner).all(), name
                assert (again.boards.army == played.boards.army).all(), name
            assert (tmp_path / "game.html").read_bytes().startswith(b"<!DOCTYPE html>")
            assert (played.actions[:, 0] != 8 * 16).sum() > 3
            await page.get_by_role("button", name="Rematch").click()
            await page.get_by_role("button", name="Start").wait_for()

    run_async(scenario)
    assert seen == []


def test_mouse_and_keys_change_the_queue() -> None:
    seen: list[str] = []

    async def scenario() -> None:
        game = {"map": "A . . .\n. . . .\n. . . .\n. . . B", "max_turns": 4000}
        async with serving(speed=1, game=game) as server, opened(server.address, seen) as page:
            session = server.table.session
            await page.get_by_role("button", name="Start").wait_for()
            assert server.address.partition("/?")[0] + "/" == page.url  # the token is gone from the address

            async def expect(*moves: tuple[int, int, bool]) -> None:
                expected = [{"from": start, "to": end, "half": half} for start, end, half in moves]
                for _ in range(1000):
                    if session.queued() == expected:
                        return
                    await page.wait_for_timeout(10)
                assert session.queued() == expected

            # The clock does not run yet: moves that are entered now wait.
            await page.evaluate("document.getElementById('overlay').hidden = true")
            await tap(page, 0, 4, 4)
            await tap(page, 1, 4, 4)
            await page.keyboard.press("z")
            await page.keyboard.press("s")
            await expect((0, 1, False), (1, 5, True))
            await tap(page, 6, 4, 4)
            await tap(page, 6, 4, 4)  # the selected tile: half
            assert await page.locator("#half").get_attribute("aria-pressed") == "true"
            await tap(page, 10, 4, 4)
            await expect((0, 1, False), (1, 5, True), (5, 6, False), (6, 10, True))
            await page.keyboard.press("e")
            await page.get_by_role("button", name="Undo").click()
            await page.keyboard.press("d")  # goes on from where the move that was taken back began
            await expect((0, 1, False), (1, 5, True), (5, 6, False))
            await page.keyboard.press(" ")
            assert await page.locator("#tile-text").inner_text() == ""
            await page.keyboard.press("q")
            await expect()
            await page.locator("#zoom-in").click()
            await page.locator("#zoom-in").click()
            await tap(page, 5, 4, 4)  # not his: nothing is selected, and the board has another size
            assert await page.locator("#tile-text").inner_text() == ""
            await page.mouse.wheel(0, 500)
            await page.keyboard.press("n")
            await page.get_by_role("button", name="Cancel").click()
            await page.reload()
            await page.get_by_role("button", name="New game").click()
            await page.get_by_label("Turns a second").select_option("16")
            await page.get_by_role("dialog").get_by_role("button", name="Play").click()
            await page.locator("#facts", has_text="16").wait_for()
            assert session.options.speed == 16
            await page.get_by_role("button", name="Start").click()
            await page.locator("#turn", has_text="Turn 1").wait_for()
            await page.reload()  # in the middle of the game
            await page.locator("#overlay").wait_for(state="hidden")
            await page.locator("#turn", has_text="Turn").wait_for()

    run_async(scenario)
    assert seen == []


def test_phone_plays_by_taps_and_shows_hostile_names_as_text() -> None:
    seen: list[str] = []
    name = "<img src=x onerror=alert(1)>"
    phone = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}

    async def scenario() -> None:
        game = {"height": 8, "width": 8}
        async with serving(speed=50, name=name, game=game) as server, opened(server.address, seen, **phone) as page:
            await page.get_by_role("button", name="Start").tap()
            session = server.table.session
            board = np.array(session.view()["owner"])
            start = int(np.flatnonzero(board == 0)[0])
            await tap(page, start, 8, 8, touch=True)
            assert "your general" in await page.locator("#tile-text").inner_text()
            assert await page.locator("#scores .own").inner_text() == name
            assert await page.evaluate("document.documentElement.scrollWidth") == 390
            await page.get_by_role("button", name="Surrender").tap()
            await page.get_by_role("dialog").get_by_role("button", name="Surrender").tap()
            await page.get_by_role("heading", name="Defeat").wait_for()

    run_async(scenario)
    assert seen == []
