"""Makes packed boards with unusual contents."""

from __future__ import annotations

import numpy as np

from generals_env.engine.boards import MOUNTAIN, OWNER_MOUNTAIN, TORUS, Boards, empty_boards
from generals_env.engine.observations.reference import action_mask, observe, visible_to
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.rules.action_space import action_count

#: Armies around every limit: of tiles with 11, 12 and 13 bits, moves, observations, float32 and int32.
EDGES = (0, 1, 2, 3, 998, 999, 1000, 1001, 1023, 1024, 2047, 2048, 4095, 4096, 2**15, 2**16, 2**24 + 1, 2**31 - 1)


ARMIES = np.array([*EDGES, *(-1 - edge for edge in EDGES)])


SMALL = np.array([-1024, -1, 0, 1, 1, 2, 2, 3, 999, 1000, 1001, 1023])


def odd_boards(
    rng: np.random.Generator, count: int, players: int | None = None, shape: tuple[int, int] | None = None
) -> Boards:
    """Return boards of one shape; every second one shares the terrain of the one before. Padding is mountains, as always."""
    players = players or int(rng.choice((1, 2, 2, 3, 4, 8, 10, 11, 16)))
    height, width = shape or tuple(rng.choice(((1, 1), (1, 7), (6, 1), (2, 2), (5, 8), (9, 4), (3, 64), (7, 7), (20, 20)))[:2])
    boards = empty_boards(count, int(height), int(width), players)
    for b in range(count):
        if b and rng.random() < 0.5:
            for array in boards:
                array[b] = array[b - 1]
        else:
            lay_ground(rng, boards, b)
        inside = inside_of(boards, b)
        armies = (SMALL, SMALL, ARMIES, rng.integers(-(2**31), 2**31, 9))[rng.integers(4)]
        boards.army[b] = np.where(inside, rng.choice(armies, len(inside)), 0)
        owned = rng.random(len(inside)) < rng.choice((0.05, 0.4, 0.95))
        owner = np.where(owned, rng.integers(0, players, len(inside)), rng.choice((-1, -1, -1, *range(-6, 0)), len(inside)))
        boards.owner[b] = np.where(inside, owner, OWNER_MOUNTAIN)
        boards.games[b]["turn"], boards.games[b]["last_move"] = rng.choice((0, 1, 49, 50, 999, 1001, 2**31 - 1), 2)
    return boards


def lay_ground(rng: np.random.Generator, boards: Boards, b: int) -> None:
    """Choose terrain, players and rules of a board."""
    game, players, tiles = boards.games[b], boards.players[b], boards.owner.shape[1]
    for name, size in (("rows", "height"), ("columns", "width")):
        game[name] = max(1, game[size] - rng.choice((0, 0, 1, 2, 5)))
    game["modifiers"] = rng.choice((0, 0, TORUS, TORUS | 1, 1 << 14))
    game["version"] = rng.integers(2, 19)
    game["fog"] = rng.random() < 0.8
    players["general"] = rng.integers(-1, tiles, len(players))
    players["surrendered"] = rng.choice((-1, 0, 2**31 - 1), len(players))
    players["team"] = np.arange(len(players)) if rng.random() < 0.5 else rng.choice((-128, 0, 127), len(players))
    players["alive"] = rng.random(len(players)) < 0.8
    boards.terrain[b] = np.where(inside_of(boards, b), rng.integers(0, 8, tiles), MOUNTAIN)


def inside_of(boards: Boards, b: int) -> np.ndarray:
    """Return which tiles are no padding, (H*W,) bool."""
    game = boards.games[b]
    row, column = np.divmod(np.arange(boards.owner.shape[1]), game["width"])
    return (row < game["rows"]) & (column < game["columns"])


def viewed(boards: Boards, b: int, player: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the observation of the reference kernels, (C, H*W), and the mask, (A,)."""
    tiles = boards.owner.shape[1]
    actions = action_count(int(boards.games[b]["version"]), tiles)
    visible, mask = np.empty(tiles, np.uint32), np.empty(actions, np.int8)
    tensor = np.empty((channels, tiles), np.float32)
    visible_to(boards, b, visible)
    observe(boards, b, player, visible, tensor)
    action_mask(boards, b, player, mask)
    return tensor, mask


def remembering(packed: PackedBoards, height: int) -> PackedBoards:
    """Return boards with the memory of the players, along the links to previous boards."""
    count, tiles, players = *packed.tiles.shape, packed.players.shape[1]
    packed = packed._replace(memory=np.full((count, players, tiles), 0xABCD, np.uint16))
    recall_rows(packed, height, 0, count // 2)
    recall_rows(packed, height, count // 2, count)
    return packed
