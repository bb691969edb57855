"""Draw the pictures of docs/arena.md: the page of an arena in Chromium, light on a desk and dark on a phone.

Usage: ``python tools/draw_arena.py [PLAYER...]``. It plays the players against each other and writes ``docs/images/arena.png``
and ``docs/images/arena_phone.png`` in the current folder. It needs the program chromium and the library playwright.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

IMAGES = Path("docs/images")
PLAYERS = ("hunter", "hunter:medium", "hunter:easy", "expander", "random")
GAMES = 200
SEED = 1
SHARP = 1.5  # device pixels of a CSS pixel
COLORS = 255
MAX_BYTES = 200_000


def draw(browser: Browser, page: Path, name: str, size: tuple[int, int], scheme: Any) -> None:
    """Write a picture of the upper part of a page."""
    view = browser.new_page(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, device_scale_factor=SHARP, reduced_motion="reduce"
    )
    view.goto(page.as_uri())
    view.wait_for_selector("html[data-ready]")
    shot = Image.open(io.BytesIO(view.screenshot())).convert("RGB")
    view.close()
    path = IMAGES / f"{name}.png"
    shot.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path}: expected at most {MAX_BYTES:,} bytes, got more: draw it smaller")


def main(players: list[str]) -> None:
    """Play the games and draw both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["generals-env", "arena", *players, "--games", str(GAMES), "--seed", str(SEED), "--html", "arena.html"]
        program = [sys.executable, "-m", "generals_env.cli", *command[1:]]
        subprocess.run(program, check=True, cwd=folder)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            draw(browser, Path(folder) / "arena.html", "arena", (1180, 900), "light")
            draw(browser, Path(folder) / "arena.html", "arena_phone", (390, 844), "dark")
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:] or list(PLAYERS))
