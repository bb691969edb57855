"""Makes ``tests/data/golden.jsonl.gz``: what players see, may do and earn (run by hand as ``python -m support.make_golden``).

Games on the maps below are played by ``naive.py``, which shares no code with the package; nothing of the package is imported
here. The file holds a game a line: each board, and for each player the tensor, the legal actions and the rewards that follow
from the rules. The kernels, the environments and what recorders keep are compared with it.
"""

from __future__ import annotations

import copy
import gzip
import json
import random
from typing import Any

from support.naive import CITY, DESERT, GENERAL, LOOKOUT, MOUNTAIN, NEUTRAL, OBSERVATORY, PLAIN, SWAMP, Game, play_turn
from support.paths import DATA

FILE = DATA / "golden.jsonl.gz"

TURNS = 26
MAX_TURNS = 60

#: The original server's weights of a reward, and the environments' defaults.
ORIGINAL = {
    "territory_gained": 0.01,
    "territory_lost": -0.01,
    "army_gained": 0.001,
    "army_lost": -0.001,
    "enemy_general_captured": 0.5,
    "own_general_lost": -0.5,
    "win_game": 1.0,
    "lose_game": -1.0,
    "city_captured": 0.1,
    "city_lost": -0.1,
    "army_advantage": 0.05,
}
DEFAULT = {**dict.fromkeys(ORIGINAL, 0.0), "win_game": 1.0, "lose_game": -1.0, "city_captured": 0.1, "city_lost": -0.1}

#: Terrain and owner of each token but generals, cities and neutral land with an army.
TOKENS = {
    ".": (PLAIN, -1),
    "#": (MOUNTAIN, -2),
    "s": (SWAMP, -1),
    "d": (DESERT, -1),
    "l": (LOOKOUT, -5),
    "o": (OBSERVATORY, -6),
}
MODIFIERS = {"leapfrog": 0, "defenseless": 5, "torus": 7, "slippery": 10}

#: Maps with what makes games happen fast: neutral land with less than nothing on it gives its taker an army.
GAMES: list[dict[str, Any]] = [
    {"map": "A -90 . # .\n. . $3 . .\n# . . . s\n. . d -90 B"},
    {"map": "A -1500 . . . .\n. # . +2 . .\n. . $0 $1 . .\n. . . . # .\n. . . -2500 B ."},
    {"map": "A -40 . . -40 B\n. . # $5 . .\n. $5 . l . .\n. . o . s .\nC -40 . . -40 D", "teams": [0, 1, 1, 0]},
    {"map": "A -60 . . .\n. . # . .\n. . . . .\nB -60 . -60 C", "modifiers": ["torus", "leapfrog"]},
    {"map": "A -300 B .\n. . . .\n. # $2 .\n. . -20 C", "fog": False},
    {"map": "A -30 # B\n. . . -30\n$9 . # .\n. . . .", "rules": "v5", "modifiers": ["defenseless"]},
]


def start_of(spec: dict[str, Any]) -> Game:
    """Return the first board of a game."""
    rows = [line.split() for line in spec["map"].splitlines()]
    height, width = len(rows), len(rows[0])
    tokens = [token for row in rows for token in row]
    players = sum("A" <= token <= "P" for token in tokens)
    game = Game(
        height=height,
        width=width,
        rows=height,
        columns=width,
        version=18 if "rules" not in spec else int(spec["rules"][1:]),
        modifiers={MODIFIERS[name] for name in spec.get("modifiers", ())},
        fog=spec.get("fog", True),
        turn=0,
        last_move=0,
        owner=[NEUTRAL] * len(tokens),
        army=[0] * len(tokens),
        ground=[PLAIN] * len(tokens),
        cities=set(),
        generals=[-1] * players,
        teams=spec.get("teams", list(range(players))),
        alive=[True] * players,
        surrendered=[-1] * players,
    )
    for tile, token in enumerate(tokens):
        if "A" <= token <= "P":
            player = ord(token) - ord("A")
            game.owner[tile], game.army[tile], game.generals[player] = player, 1, tile
        elif token[0] == "$":
            game.cities.add(tile)
            game.army[tile] = int(token[1:])
        elif token[0] in "+-":
            game.army[tile] = int(token)
        else:
            game.ground[tile], game.owner[tile] = TOKENS[token]
    return game


def board_of(game: Game) -> dict[str, Any]:
    """Return a board as numbers."""
    built = {CITY: game.cities, GENERAL: set(game.generals)}
    terrain = [next((kind for kind, tiles in built.items() if tile in tiles), kind) for tile, kind in enumerate(game.ground)]
    return {
        "turn": game.turn,
        "last_move": game.last_move,
        "owner": list(game.owner),
        "army": list(game.army),
        "terrain": terrain,
        "general": list(game.generals),
        "alive": list(game.alive),
        "views": [view_of(game, player) for player in range(len(game.alive))],
    }


def view_of(game: Game, player: int) -> dict[str, Any]:
    """Return what a player is shown: cells of the tensor that are not zero, and the legal actions."""
    cells = [value for channel in game.tensor(player) for value in channel]
    return {
        "cells": [[place, value] for place, value in enumerate(cells) if value],
        "legal": [action for action, legal in enumerate(game.mask(player)) if legal],
    }


def choose(game: Game, player: int, rng: random.Random) -> int:
    """Return a move of a large army, or any, or now and then one that is not legal."""
    tiles = game.height * game.width
    legal = [action for action, allowed in enumerate(game.mask(player)) if allowed]
    if rng.random() < 0.05:
        return rng.randrange(8 * tiles)
    if rng.random() < 0.7:
        moves = legal[:-1] or legal
        return max(moves, key=lambda action: (action < 8 * tiles and game.army[action % (4 * tiles) // 4], rng.random()))
    return rng.choice(legal)


def play(spec: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a game as numbers: boards, and between them the turns."""
    game, rng = start_of(spec), random.Random(seed)
    active = [True] * len(game.alive)
    boards, turns = [board_of(game)], []
    while any(active) and len(turns) < TURNS:
        passing = 8 * game.height * game.width
        actions = [choose(game, player, rng) if active[player] else passing for player in range(len(active))]
        weighed = {}
        for name, weights in (("default", DEFAULT), ("original", ORIGINAL)):
            after = copy.deepcopy(game)
            executed, illegal, terminated, truncated, weighed[name] = play_turn(after, actions, active, weights, MAX_TURNS)
        turns.append(
            {
                "active": list(active),
                "actions": actions,
                "executed": executed,
                "illegal": illegal,
                "terminated": terminated,
                "truncated": truncated,
                "rewards": weighed,
            }
        )
        game = after
        boards.append(board_of(game))
        active = [was and not end for was, end in zip(active, terminated, strict=True)]
    return {**spec, "boards": boards, "turns": turns}


def golden() -> list[dict[str, Any]]:
    """Return all games."""
    return [play(spec, seed) for seed, spec in enumerate(GAMES)]


def main() -> None:
    """Write the file."""
    lines = [json.dumps(game, separators=(",", ":")) for game in golden()]
    FILE.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    main()
