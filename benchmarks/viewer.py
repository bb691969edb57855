"""Measures pages of recorded games: ``python -m benchmarks viewer``.

Size of the page, time to write it, and in Chromium the time from the start of the navigation to the first frame, and the time
of a jump to another turn.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import generals_env
from generals_env.recorders import ExperienceRecorder
from generals_env.recorders.datasets.recorded_games import load_game
from generals_env.replay.recorded_game import RecordedGame
from generals_env.viewer import write_page
from generals_env.wrappers import Opponent

TURNS, SIDE, ROUNDS = 1000, 20, 5

#: Milliseconds of a jump to a random turn, with all that is drawn.
JUMP = """() => {
  const start = performance.now();
  for (let i = 0; i < 100; i++) viewer.seek(Math.floor(Math.random() * viewer.last));
  return (performance.now() - start) / 100;
}"""


def recorded_game(**options: Any) -> RecordedGame:
    """Return a game of built-in policies that lasts all its turns."""
    for seed in range(100):
        with tempfile.TemporaryDirectory() as folder:
            with ExperienceRecorder(generals_env.parallel_env(max_turns=TURNS, **options), folder) as env:
                observations, _ = env.reset(seed=seed)
                policies = {agent: Opponent("expander", number) for number, agent in enumerate(env.agents)}
                while env.agents:
                    observations, *_ = env.step({agent: policies[agent](observations[agent]) for agent in env.agents})
            game = load_game(folder)
        if game.turns == TURNS:
            return game
    raise RuntimeError(f"no game of {TURNS} turns in 100 maps")


def main() -> None:
    """Measure and print."""
    console = Console(width=160)
    table = Table(
        *("game", "page, kB", "written in, ms", "first frame, ms", "jump, ms"),
        title=f"{TURNS:,} turns; first frame: median and maximum of {ROUNDS} new browsers",
    )
    for name, players, side in (("two players, 20x20", 2, SIDE), ("eight players, 32x32", 8, 32)):
        game = recorded_game(players=players, height=side, width=side)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            path = write_page([game], Path(folder) / "game.html")
            written = 1000 * (time.perf_counter() - start)
            shown = ("no chromium", "no chromium")
            if program := shutil.which("chromium"):
                frames, jump = browser_times(path, program)
                shown = (f"{statistics.median(frames):.0f}, {max(frames):.0f}", f"{jump:.1f}")
            table.add_row(name, f"{path.stat().st_size / 1000:.0f}", f"{written:.0f}", *shown)
    console.print(table)


def browser_times(path: Path, program: str) -> tuple[list[float], float]:
    """Return the milliseconds to the first frame of each new browser, and those of a jump."""
    from playwright.sync_api import sync_playwright

    frames = []
    with sync_playwright() as playwright:
        for _ in range(ROUNDS):
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]")
            frames.append(float(page.evaluate("performance.getEntriesByName('first-frame')[0].startTime")))
            jump = float(page.evaluate(JUMP))
            browser.close()
    return frames, jump


if __name__ == "__main__":
    main()
