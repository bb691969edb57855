"""Draw the pictures of docs/viewer.md: pages of recorded games in Chromium, light and dark, on a desk and on a phone.

Usage: ``python tools/draw_viewer.py``. It writes ``docs/images/viewer_*.png`` in the current folder. It needs the program
chromium and the library playwright.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

import generals_env
from generals_env.actions import DIRECTIONS
from generals_env.engine.boards import Boards
from generals_env.recorders import ExperienceRecorder
from generals_env.recorders.datasets.recorded_games import load_game
from generals_env.replay.recorded_game import RecordedGame
from generals_env.viewer import write_page
from generals_env.wrappers import Opponent

MAX_BYTES = 200_000
COLORS = 255  # of a picture
SHARP = 1.5  # device pixels of a CSS pixel

Floats = npt.NDArray[np.float64]


def scripted_policy(board: Boards, player: int, mask: npt.NDArray[np.int8]) -> Floats:
    """Return a probability of each action index: large armies move, rather to land that they win than over their own."""
    height, width = int(board.games[0]["height"]), int(board.games[0]["width"])
    owner, army = board.owner[0], board.army[0].astype(np.float64)
    logits = np.full(len(mask), -np.inf)
    for index in np.flatnonzero(mask[: 4 * height * width]):
        tile, direction = divmod(int(index), 4)
        down, right = DIRECTIONS[direction]
        end = tile + down * width + right
        wins = owner[end] != player and army[tile] > army[end] + 1
        prize = 0.0 if owner[end] == player else 3.5 if wins and owner[end] >= 0 else 2.5 if wins else -2.0
        logits[index] = 2 * np.log(army[tile]) + prize
    logits[-1] = -1.0 if np.isinf(logits).all() else -np.inf
    chances = np.exp((logits - logits.max()) / 0.8)
    return chances / chances.sum()


def agent_game(seed: int) -> RecordedGame:
    """Return a game of the scripted policy against ``expander``, with probabilities, values and rewards."""
    rng, opponent = np.random.default_rng(seed), Opponent("expander", seed)
    probabilities: list[Floats] = []
    with tempfile.TemporaryDirectory() as folder:
        with ExperienceRecorder(generals_env.parallel_env(height=18, width=18, max_turns=1000), folder) as env:
            observations, _ = env.reset(seed=seed)
            while env.agents:
                chances = scripted_policy(env.board(), 0, observations["player_0"]["action_mask"])
                probabilities.append(chances)
                actions = {"player_0": int(rng.choice(len(chances), p=chances))}
                actions["player_1"] = opponent(observations["player_1"])
                observations, *_ = env.step(actions)
        game = load_game(folder)
    army = np.stack([(game.boards.army * (game.boards.owner == player)).sum(axis=1) for player in range(2)], axis=1)[:-1]
    values = np.full((game.turns, 2), np.nan, np.float32)
    values[:, 0] = np.tanh(3 * (army[:, 0] - army[:, 1]) / army.sum(axis=1))
    held = np.zeros((game.turns, 2, len(probabilities[0])), np.float32)
    held[:, 0] = probabilities
    return replace(game, names=("scripted", "expander"), values=values, probabilities=held)


def built_in_game(seed: int, names: tuple[str, ...], **options: Any) -> RecordedGame:
    """Return a game of ``expander`` against itself."""
    with tempfile.TemporaryDirectory() as folder:
        with ExperienceRecorder(generals_env.parallel_env(max_turns=1000, **options), folder) as env:
            observations, _ = env.reset(seed=seed)
            policies = {agent: Opponent("expander", seed + number) for number, agent in enumerate(env.agents)}
            while env.agents:
                observations, *_ = env.step({agent: policies[agent](observations[agent]) for agent in env.agents})
        return replace(load_game(folder), names=names)


def draw(
    browser: Browser, name: str, games: list[RecordedGame], size: tuple[int, int], scheme: Any, keys: str = "", **options: Any
) -> None:
    """Write a picture of the page of some games, after some keys were pressed."""
    with tempfile.TemporaryDirectory() as folder:
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
            device_scale_factor=SHARP,
            reduced_motion="reduce",
        )
        page.goto(write_page(games, Path(folder) / "page.html", **options).as_uri())
        page.wait_for_selector("html[data-ready]")
        for key in keys:
            page.keyboard.press(key)
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        page.close()
    path = Path("docs/images") / f"viewer_{name}.png"
    shot.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    size_of_file = path.stat().st_size
    print(f"{path}: {size_of_file / 1000:.0f} kB")
    if size_of_file > MAX_BYTES:
        raise SystemExit(f"{path}: expected at most {MAX_BYTES} bytes, got {size_of_file}: draw it smaller")


def main() -> None:
    """Draw all pictures."""
    agent = agent_game(3)
    duel = built_in_game(1, ("Ada", "Grace"), height=20, width=20)
    crowd = built_in_game(
        2, ("Ada", "Grace", "Edsger", "Alan", "Barbara", "Donald"), players=6, height=22, width=26, modifiers=("torus",)
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        draw(browser, "light", [duel], (1280, 820), "light", turn=520)
        draw(browser, "agent", [agent], (1280, 820), "dark", player=0, turn=150)
        draw(browser, "compare", [duel, agent], (1280, 820), "light", compare=True, turn=230)
        draw(browser, "phone", [crowd], (390, 844), "dark", turn=240)
        draw(browser, "phone_light", [agent], (390, 844), "light", player=0, turn=110)
        browser.close()


if __name__ == "__main__":
    main()
