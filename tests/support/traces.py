"""Writes traces of games in the forms that the conformance command reads, and changes one number of them."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from generals_env import replay
from generals_env.bridge.competition_boards import board_of
from generals_env.bridge.live_map import diff_map, encode_map
from generals_env.engine.boards import CITY
from support.ground_truth import load
from support.naive_competition import Position
from support.paths import DATA

#: A game of 221 turns on a small board, in the data of the tests.
GAME = "duel_wide"


def save(path: Path, content: Any) -> Path:
    """Write packed JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))
    return path


def replay_fields() -> dict[str, Any]:
    """Return the replay of ``GAME`` as named fields."""
    return dict(load(DATA / f"{GAME}.json.gz")) | {"id": GAME}


def trace_of_replay(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the trace of a replay."""
    game = replay.from_dict(fields)
    trace: dict[str, Any] = {"crc32": [], "army": [], "land": [], "alive": [], "samples": {}, "delta": []}
    digest = hashlib.sha256()
    deaths = []
    before = None
    for turn in game.play():
        owner, army = turn.owner.ravel().copy(), turn.army.ravel().copy()
        data = owner.astype(np.int8).tobytes() + army.astype("<i4").tobytes()
        digest.update(data)
        trace["crc32"].append(zlib.crc32(data))
        trace["army"].append([int(army[owner == player].sum()) for player in range(game.players)])
        trace["land"].append([int((owner == player).sum()) for player in range(game.players)])
        trace["alive"].append(sum(1 << player for player in range(game.players) if turn.alive[player]))
        deaths += [
            {"player": player, "turn": turn.turn}
            for player in range(game.players)
            if before is not None and before[2][player] and not turn.alive[player]
        ]
        changed = [] if before is None else np.flatnonzero((owner != before[0]) | (army != before[1])).tolist()
        trace["delta"].append([value for tile in changed for value in (tile, int(owner[tile]), int(army[tile]))])
        if turn.turn % 50 == 0:
            trace["samples"][str(turn.turn)] = {"owner": owner.tolist(), "army": army.tolist()}
        before = owner, army, turn.alive.copy()
    final = {
        "turn": turn.turn,
        "over": int(turn.alive.sum()) == 1,
        "alive_at_end": np.flatnonzero(turn.alive).tolist(),
        "deaths": deaths,
        "cities": np.flatnonzero(turn.boards.terrain[0] == CITY).tolist(),
        "generals": turn.boards.players["general"][0].tolist(),
    }
    heads = {"format": "gio-trace-1", "replay": game.id, "turns": turn.turn, "state_sha256": digest.hexdigest()}
    return heads | {"width": game.width, "height": game.height, "players": game.players} | trace | {"final": final}


def fog_of_replay(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what the players of a replay see."""
    game = replay.from_dict(fields)
    fog: dict[str, Any] = {"vis_crc32": [], "serialized": {}, "map_diff_player0": {}}
    sent = np.zeros(0, np.int64)
    for turn in game.play():
        masks = [turn.visible(player).ravel() for player in range(game.players)]
        bits = sum(mask.astype("<u4") << player for player, mask in enumerate(masks))
        fog["vis_crc32"].append(zlib.crc32(bits.astype("<u4").tobytes()))
        cities = np.flatnonzero(turn.boards.terrain[0] == CITY).tolist()
        maps = [encode_map(game.height, game.width, turn.owner.ravel(), turn.army.ravel(), mask, cities) for mask in masks]
        if turn.turn % 50 == 0:
            fog["serialized"][str(turn.turn)] = [array.tolist() for array in maps]
        if turn.turn <= 60:
            fog["map_diff_player0"][str(turn.turn)] = diff_map(sent, maps[0])
            sent = maps[0]
    return {"format": "gio-fog-1", "replay": game.id, "turns": turn.turn} | fog


def competition_game(seed: int = 0, turns: int = 60) -> dict[str, Any]:
    """Return a game of the competition between random players on a board of 4 x 5, by the oracle of the rules."""
    rng = np.random.default_rng(seed)
    grid = [0] * 20
    grid[1], grid[18], grid[7], grid[12] = 1, 2, -2, -2
    owner = [number if number < 0 else -1 for number in grid]
    owner[1], owner[0], owner[18], owner[19] = 0, 0, 1, 1
    army = [60 if holder >= 0 else 0 for holder in owner]  # enough to build
    start = {"time": 0, "owner": owner, "army": army, "castle": [0] * 20}
    game: dict[str, Any] = {"id": seed, "kind": "small", "h": 4, "w": 5, "grid": grid, "dt": 30, "cap": turns, "start": start}
    position = Position.from_boards(board_of(grid, 4, 5, 30, start), 0)
    lists: dict[str, list[Any]] = {"actions": [], "crc": [], "army": [], "land": [], "samples": []}
    while not position.over and position.time < turns:
        legal = [[i for i in range(9 * 20 + 1) if position.legal(player, i)] for player in (0, 1)]
        pair = [int(rng.choice([index for index in some if index != 160] or [160])) for some in legal]
        position.play((pair[0], pair[1]))
        lists["actions"].append([number for index in pair for number in written(position, index)])
        owner, army, castle = position.flat()
        data = np.array(owner, np.int8).tobytes() + np.array(army, "<i4").tobytes() + np.array(castle, np.uint8).tobytes()
        lists["crc"].append(zlib.crc32(data))
        lists["army"].append([sum(a for o, a in zip(owner, army, strict=True) if o == player) for player in (0, 1)])
        lists["land"].append([owner.count(player) for player in (0, 1)])
        sample = {"turn": position.time, "time": position.time, "owner": owner, "army": army, "castle": list(map(int, castle))}
        lists["samples"] += [sample] if position.time % 20 == 0 else []
    cut = not position.over
    final = {"done": True, "terminated": not cut, "truncated": cut, "winner": position.winner}
    return game | lists | {"final": final | {"time": position.time, "turns": len(lists["crc"])}}


def written(position: Position, index: int) -> list[int]:
    """Return an action in the five numbers of the competition."""
    order = position.order(index)
    if order.kind == "pass":
        return [1, 0, 0, 0, 0]
    return [2 if order.kind == "build" else 0, *order.place, order.direction, int(order.half)]
