"""Draw the pictures of docs/opponents.md: how each built-in policy stands at two turns, its land over time, and a film.

Usage: ``python tools/draw_opponents.py [POLICY...]``, by default with all of ``generals_env.opponents.POLICIES``. It writes
into ``docs/images`` of the current folder: ``opponent_NAME.png``, the policy (red) against ``expander`` (blue) on the same map;
``opponents_land.png``, land over turns, which needs matplotlib; and ``hunter.gif``, a game of ``hunter`` against ``expander``.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
from draw_pictures import play_game
from matplotlib.figure import Figure
from PIL import Image
from rich.progress import track

import generals_env
from generals_env.opponents import POLICIES
from generals_env.rendering.films import save_gif
from generals_env.rendering.image import draw_board
from generals_env.rendering.palette import BACKGROUND

IMAGES = Path("docs/images")
SIZE = 20
MAP_SEED = 12
TURNS = (50, 150)  # that are drawn
SCALE = 2

GAMES = 1000  # of each policy against itself, for the land over turns
GAMES_OF_PLANNER = 10  # a move of it takes as long as thousands of theirs
PLANNER_FOR_LAND = "planner:50"  # with fewer playouts than by default, likewise
LAST_TURN = 150
LAND_SEED = 1

#: Land of people at a turn: lowest tenth, median, highest tenth, of 9,571 games between strong players (see docs/opponents.md).
PEOPLE = {25: (2, 2, 6), 50: (22, 24, 25), 75: (25, 30, 37), 100: (33, 41, 50), 150: (39, 52, 67)}

COLORS = {"random": "#7a7468", "expander": "#1f7a4d", "hunter": "#1f6fb5", "planner": "#8648b0"}

FILM_TURNS = (200, 280)  # the first map is taken on which the hunter wins after so many turns
FILM_FRAMES = 110
FILM_TILE = 20
MAX_FILM = 500_000  # bytes


def draw_turns(policy: str) -> None:
    """Write a picture of a game of a policy against the expander at both turns."""
    game = play_game(SIZE, MAP_SEED, (policy, "expander"), max_turns=max(TURNS))
    views = [draw_board(game.boards, min(turn, game.turns), None, 15, scale=SCALE) for turn in TURNS]
    gap = np.full((views[0].shape[0], 20, 3), BACKGROUND, np.uint8)
    picture = Image.fromarray(np.concatenate([views[0], gap, views[1]], axis=1))
    path = IMAGES / f"opponent_{policy}.png"
    picture.quantize(255, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes, {game.turns} turns")


def land_of(policy: str) -> npt.NDArray[np.float64]:
    """Return the lowest tenth, median and highest tenth of land over turns, (3, turns), of games of a policy against itself.

    Games that have ended are left out.
    """
    games, name = (GAMES_OF_PLANNER, PLANNER_FOR_LAND) if policy == "planner" else (GAMES, policy)
    venv = generals_env.make_vec(games, height=SIZE, width=SIZE, max_turns=LAST_TURN + 1)
    venv.reset(seed=LAND_SEED)
    going = np.ones(games, np.bool_)
    spreads = [np.ones(3)]
    for _ in track(range(LAST_TURN), f"land of {policy}"):
        _, _, terminated, truncated, _ = venv.step(venv.act((name, name)))
        going &= ~(terminated | truncated).all(axis=1)
        owner = venv.boards().owner[going]
        land = np.concatenate([(owner == player).sum(axis=1) for player in range(2)])
        spreads.append(np.percentile(land, (10, 50, 90)))
    venv.close()
    return np.array(spreads).T


def draw_land(policies: list[str]) -> None:
    """Write a plot of land over turns, one panel a policy, with that of people."""
    rows = -(-len(policies) // 2)
    figure = Figure(figsize=(9, 3.6 * rows), dpi=150, layout="constrained")
    panels = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()[: len(policies)]
    people = np.array(list(PEOPLE.values())).T
    for policy, panel in zip(policies, panels, strict=True):
        low, median, high = land_of(policy)
        turns = np.arange(len(median))
        panel.fill_between(turns, low, high, color=COLORS[policy], alpha=0.2, linewidth=0)
        panel.plot(turns, median, color=COLORS[policy], linewidth=2, label=policy)
        errors = np.abs(people[[0, 2]] - people[1])
        panel.errorbar(list(PEOPLE), people[1], errors, fmt="o", color="#22242a", markersize=4, capsize=3, label="people")
        panel.grid(color="#dddddd", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.set_xticks(range(0, LAST_TURN + 1, 25))
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(loc="upper left", frameon=False)
        shown = ", ".join(f"{turn}: {low[turn]:g}/{median[turn]:g}/{high[turn]:g}" for turn in PEOPLE)
        print(f"land of {policy} at turn (lowest tenth/median/highest tenth) {shown}")
    figure.supxlabel("turn")
    figure.supylabel("tiles owned")
    path = IMAGES / "opponents_land.png"
    figure.savefig(path)
    print(f"{path}: {path.stat().st_size:,} bytes")


def draw_film() -> None:
    """Write a film of a game that the hunter wins against the expander."""
    path = IMAGES / "hunter.gif"
    for seed in count(1):
        game = play_game(SIZE, seed, ("hunter", "expander"))
        if FILM_TURNS[0] <= game.turns <= FILM_TURNS[1] and not (game.boards.owner[-1] == 1).any():
            break
    save_gif(game, path, tile_size=FILM_TILE, scale=SCALE, max_frames=FILM_FRAMES)
    print(f"{path}: {path.stat().st_size:,} bytes, {game.turns} turns, map {seed}")
    if path.stat().st_size > MAX_FILM:
        raise SystemExit(f"{path}: expected at most {MAX_FILM:,} bytes, got more: draw fewer or smaller pictures")


def main(policies: list[str]) -> None:
    """Write all pictures."""
    for policy in policies:
        draw_turns(policy)
    draw_land(policies)
    if "hunter" in policies:
        draw_film()


if __name__ == "__main__":
    main(sys.argv[1:] or list(POLICIES))
