"""Draws the docs' pictures of a game in the browser: ``python tools/draw_play.py``. It needs Chromium and playwright.

The expander plays for the person until the board looks like a game; then some moves are queued by keys.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import async_playwright

from generals_env.engine.boards import LIVE_VERSION
from generals_env.play.agents import make_agent
from generals_env.play.server import PlayServer
from generals_env.play.session import Session, SessionOptions

FOLDER = Path(__file__).parents[1] / "docs" / "images"
TURNS = 230
KEYS = "ssssddddsd"  # walls on the way are skipped

PICTURES: dict[str, dict[str, Any]] = {
    "play": {"viewport": {"width": 1180, "height": 740}, "device_scale_factor": 1.5},
    "play_phone": {
        "viewport": {"width": 390, "height": 700},
        "device_scale_factor": 2,
        "has_touch": True,
        "is_mobile": True,
        "color_scheme": "dark",
    },
}


async def advance(session: Session) -> None:
    """Play the first turns, with the expander in the person's seat."""
    while session.state == "preparing":
        await asyncio.sleep(0.1)
    person = make_agent("expander", LIVE_VERSION)
    person.begin(1)
    session.start()
    for _ in range(TURNS):
        for thinker in session.seats.values():
            thinker.wait(10)
        session.queue.extend([person.choose(session.situation(session.options.seat))])
        session.play_turn()


async def draw(name: str, options: dict[str, Any]) -> None:
    """Write one picture."""
    game = {"height": 16, "width": 18}
    server = PlayServer(Session(SessionOptions(opponents=("expander",), seed=11, game=game)))
    await server.start()
    await advance(server.table.session)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = await (await browser.new_context(**options)).new_page()
        await page.goto(server.address)
        await page.locator("#overlay").wait_for(state="hidden")
        session = server.table.session
        session.options = replace(session.options, speed=0.1)  # the clock stands still for the picture
        await page.locator("#turn", has_text=f"Turn {TURNS + 1}").wait_for()
        view = session.view()
        own = [army if owner == 0 else 0 for owner, army in zip(view["owner"], view["army"], strict=True)]
        tile, box = own.index(max(own)), await page.locator("#board").bounding_box()
        x = box["x"] + (tile % 18 + 0.5) * box["width"] / 18
        await page.mouse.click(x, box["y"] + (tile // 18 + 0.5) * box["height"] / 16)
        for key in KEYS:
            await page.keyboard.press(key)
        picture = FOLDER / f"{name}.png"
        await page.screenshot(path=picture)
        await browser.close()
    await server.close()
    with Image.open(picture) as image:
        image.convert("RGB").quantize(96).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1024:.0f} KB")


def main() -> None:
    """Write all pictures."""
    for name, options in PICTURES.items():
        asyncio.run(draw(name, options))


if __name__ == "__main__":
    main()
