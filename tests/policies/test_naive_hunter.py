"""Tests that the hunter's kernel plays as the naive hunter, move by move."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.naive_hunter import NaiveHunter, Seen

import generals_env
from generals_env.engine.boards import COMPETITION_VERSION, GENERAL, MOUNTAIN, OWNER_MOUNTAIN, TOUCH_SHIFT

SMALL: dict[str, Any] = {"height": 10, "width": 11, "max_turns": 150}
KINDS: dict[str, dict[str, Any]] = {
    "live": SMALL,
    "competition": SMALL | {"rules": "competition", "touch_turn": 90, "max_turns": 220},
    "three": SMALL | {"players": 3},
    "teams": SMALL | {"players": 4, "teams": (0, 0, 1, 1)},
    "large": {"height": 20, "width": 20, "max_turns": 90},
}


def seen(env: Any, b: int, player: int) -> Seen:
    """Return what a seat sees; what is hidden is left out."""
    boards, codes = env.batch.boards, env.batch.views.tile_codes[b, player]
    game, players = boards.games[b], boards.players[b]
    shown = codes >= 3
    enemies = players["team"] != players["team"][player]
    competes = int(game["version"]) == COMPETITION_VERSION
    theirs = np.isin(boards.owner[b], np.flatnonzero(enemies))
    own = boards.owner[b] == player
    return Seen(
        codes=codes.tolist(),
        owner=np.where(shown, boards.owner[b], -9).tolist(),
        army=np.where(shown, boards.army[b], 0).tolist(),
        width=int(game["width"]),
        player=player,
        general=int(players["general"][player]),
        turn=int(game["turn"]),
        rivals=int((enemies & players["alive"]).sum()),
        touch=int(game["modifiers"]) >> TOUCH_SHIFT if competes else -1,
        own_total=int(boards.army[b][own].sum()) if competes else -1,
        enemy_total=int(boards.army[b][theirs].sum()) if competes else -1,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["hunter", "expander"])
def test_hunter_kernel_plays_as_the_naive_hunter(kind: str, other: str) -> None:
    env = generals_env.make_vec(2, **KINDS[kind])
    env.reset(seed=11)
    players = env.config.players
    names = ("hunter", *[other] * (players - 1))
    seats = [(b, p) for b in range(2) for p in range(players) if names[p] == "hunter"]
    naive = {seat: NaiveHunter() for seat in seats}
    compared = 0
    for _ in range(int(KINDS[kind]["max_turns"])):
        actions = env.act(names)
        for b, p in seats:
            if env.batch.outcome.active[b, p]:
                assert naive[b, p].act(seen(env, b, p), int(env.batch.outcome.begun[b])) == actions[b, p]
                compared += 1
        env.step(actions)
    assert compared > 100


def test_hunter_goes_on_as_the_naive_hunter_after_turns_of_others() -> None:
    env = generals_env.make_vec(1, **SMALL)
    env.reset(seed=2)
    naive = NaiveHunter()
    for turn in range(110):
        actions = env.act(("random", "expander"))
        if turn % 7 not in (3, 4):
            actions[0, 0] = env.act(("hunter", "expander"))[0, 0]
            assert naive.act(seen(env, 0, 0), int(env.batch.outcome.begun[0])) == actions[0, 0]
        env.step(actions)


@pytest.mark.parametrize(("distance", "army", "built"), [(7, 60, [120]), (6, 36, []), (6, 37, [120]), (4, 60, [])])
def test_hunter_builds_a_castle_as_the_naive_hunter(distance: int, army: int, built: list[int]) -> None:
    options = SMALL | {"rules": "competition", "height": 12, "width": 14}
    env = generals_env.make_vec(1, **options)
    env.reset(seed=3)
    boards, width = env.boards(), 14
    home = int(boards.players["general"][0, 0])
    tile = next(
        tile
        for tile in np.flatnonzero(boards.terrain[0] == 0).tolist()
        if abs(tile // width - home // width) + abs(tile % width - home % width) == distance
    )
    boards.owner[0, tile], boards.army[0, tile] = 0, army
    boards.games["turn"] = 120
    env.reset(seed=3, options={"start": boards})
    naive, builds = NaiveHunter(), []
    for turn in range(120, 149):
        action = int(env.act(("hunter", "expander"))[0, 0])
        assert naive.act(seen(env, 0, 0), int(env.batch.outcome.begun[0])) == action
        builds += [turn] if action > 8 * 12 * width else []
        env.step(env.act(("hunter", "expander")))
    assert builds == built


ODD: dict[str, dict[str, Any]] = {
    "live": {"height": 10, "width": 11},
    "competition": {"height": 9, "width": 9, "rules": "competition", "touch_turn": 145},
    "three": {"players": 3, "height": 9, "width": 9, "modifiers": ("leapfrog", "defenseless")},
    "teams": {"players": 4, "teams": (0, 0, 1, 1), "height": 10, "width": 10},
    "torus": {"height": 4, "width": 5, "modifiers": ("torus",)},
    "old": {"height": (6, 11), "width": (7, 12), "rules": "v3"},
}


def odd_positions(env: Any, rng: np.random.Generator) -> Any:
    """Return boards of games that no play leads to: land of all shares, often of one player, and armies of all sizes."""
    boards = env.boards()
    players = env.config.players
    for b in range(env.num_envs):
        free = np.flatnonzero(boards.terrain[b] == 0)
        land = free[rng.random(len(free)) < rng.choice((0.02, 0.2, 0.6, 1))]
        generals = boards.players["general"][b]
        largest = rng.choice((3, 12, 80))
        boards.owner[b, land] = rng.integers(players) if rng.random() < 0.3 else rng.integers(-1, players, len(land))
        boards.army[b, land] = rng.integers(0, largest, len(land))
        boards.army[b, generals] = rng.integers(1, largest, len(generals))
        boards.games["turn"][b] = rng.choice((0, 1, 30, 49, 50, 100, 139, 145, 300))
    return boards


@pytest.mark.parametrize("kind", ODD)
def test_hunter_kernel_plays_as_the_naive_one_on_odd_boards(kind: str) -> None:
    env = generals_env.make_vec(8, **ODD[kind], max_turns=900)
    players = env.config.players
    for seed in range(3):
        env.reset(seed=seed)
        env.reset(seed=seed, options={"start": odd_positions(env, np.random.default_rng(seed))})
        naive = {(b, p): NaiveHunter() for b in range(8) for p in range(players)}
        for _ in range(8):
            actions = env.act(("hunter",) * players)
            for (b, p), hunter in naive.items():
                if env.batch.outcome.active[b, p]:
                    assert env.batch.views.masks[b, p, actions[b, p]]
                    assert hunter.act(seen(env, b, p), int(env.batch.outcome.begun[b])) == actions[b, p]
            env.step(actions)


def test_hunter_counts_chains_of_huge_armies() -> None:
    width, height = 32, 6
    env = generals_env.make_vec(1, width=width, height=height)
    env.reset(seed=1)
    boards = env.boards()
    boards.terrain[:], boards.owner[:], boards.army[:] = 0, 0, 10**8  # all of it own land, but for two corners
    home = height * width - 1
    boards.players["general"][0] = [home, 0]
    boards.terrain[0, [0, home]] = GENERAL
    boards.owner[0, 0], boards.army[0, 0] = 1, 5
    walls = [1, width, width + 1]
    boards.terrain[0, walls], boards.owner[0, walls], boards.army[0, walls] = MOUNTAIN, OWNER_MOUNTAIN, 0
    free = width * (height - 1)
    boards.owner[0, free], boards.army[0, free] = -1, 0
    boards.games["turn"] = 60
    env.reset(seed=1, options={"start": boards})
    for _ in range(3):
        actions = env.act(("hunter", "expander"))
        assert env.batch.views.masks[0, 0, actions[0, 0]]
        env.step(actions)
