"""Makes those games of this package in ``tests/data`` that are not there (run by hand as ``python -m support.make_data``).

They are replays like those of people: 2, 3 and 8 players, teams, modifiers, a surrender; random and expanding policies.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import Any

import numpy as np

import generals_env
from generals_env import replay
from generals_env.actions import DIRECTIONS, decode_action
from generals_env.engine.boards import CITY, MOUNTAIN
from generals_env.wrappers import Opponent
from support.paths import DATA

GAMES: dict[str, dict[str, Any]] = {
    "duel": {"height": 12, "width": 10, "max_turns": 600},
    "three": {"players": 3, "height": 9, "width": 14, "max_turns": 400},
    "eight": {"players": 8, "height": 16, "width": 16, "max_turns": 300},
    "teams": {"players": 4, "teams": (0, 0, 1, 1), "height": 10, "width": 10, "max_turns": 400},
    "torus": {"players": 3, "modifiers": ("torus", "leapfrog"), "height": 8, "width": 8, "max_turns": 300},
    "duel_small": {"height": 7, "width": 7, "max_turns": 400},
    "duel_wide": {"height": 8, "width": 19, "max_turns": 400},
    "duel_tall": {"height": 17, "width": 9, "max_turns": 400},
    "duel_square": {"height": 14, "width": 14, "max_turns": 400},
    "duel_large": {"height": 22, "width": 21, "max_turns": 500},
    "old": {"rules": "v5", "height": 10, "width": 10, "max_turns": 400},
}
SURRENDERS = {"eight": (5, 90)}


def play(name: str) -> dict[str, Any]:
    """Play a game and return it as a replay with named fields."""
    options = GAMES[name]
    env = generals_env.parallel_env(**options)
    observations, _ = env.reset(seed=7)
    start = env.board()
    height, width = env.config.shape
    players = [Opponent("random" if player % 3 == 2 else "expander", player) for player in range(env.config.players)]
    moves, afks = [], []
    for turn in range(options["max_turns"]):
        if not env.agents:
            break
        if SURRENDERS.get(name, (0, -1))[1] == turn:
            loser = SURRENDERS[name][0]
            env.surrender(f"player_{loser}")
            afks += [[loser, turn], [loser, turn + 50]]
        order = turn % 2 * -2 + 1  # any order of the file does: queues are one a player
        actions = {agent: players[env.index[agent]](observations[agent]) for agent in env.agents[::order]}
        for agent, action in actions.items():
            move = decode_action(action, height, width)
            if move is None:
                continue
            down, right = DIRECTIONS[move.direction]
            tile = move.row * width + move.column
            target = (move.row + down) % height * width + (move.column + right) % width
            moves.append([env.index[agent], tile, target, int(move.half), turn])
        observations, *_ = env.step(actions)
    cities = np.flatnonzero(start.terrain[0] == CITY)
    return {
        "version": env.config.version,
        "id": name,
        "mapWidth": width,
        "mapHeight": height,
        "cities": cities.tolist(),
        "cityArmies": start.army[0][cities].tolist(),
        "generals": start.players["general"][0].tolist(),
        "mountains": np.flatnonzero(start.terrain[0] == MOUNTAIN).tolist(),
        "moves": moves,
        "afks": afks,
        "teams": list(options["teams"]) if "teams" in options else None,
        "modifiers": [number for number in range(11) if env.config.modifier_bits >> number & 1],
    }


def main() -> None:
    """Write the games, and what is expected of each; those that are there stay, whatever policies play by now."""
    expected = json.loads((DATA / "expected.json").read_text())
    for name in GAMES:
        file = DATA / f"{name}.json.gz"
        if file.exists():
            continue
        file.write_bytes(gzip.compress(json.dumps(play(name)).encode(), mtime=0))
        digest = hashlib.sha256()
        for turn in replay.read(file).play():
            digest.update(turn.owner.astype(np.int8).tobytes() + turn.army.astype("<i4").tobytes())
        expected.append(
            {
                "file": file.name,
                "turns": turn.turn,
                "state_sha256": digest.hexdigest(),
                "alive": np.flatnonzero(turn.alive).tolist(),
            }
        )
    expected.sort(key=lambda game: game["file"])
    (DATA / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
