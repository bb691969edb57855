"""Encodes a recorded game for the page: facts as JSON, and boards, actions and what agents recorded as compressed bytes.

Boards are stored as the first one and the tiles that change each turn. ``assets/game.js`` decodes them.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import (
    COMPETITION_VERSION,
    DEFENSELESS,
    LEAPFROG,
    LOOKOUT,
    MAX_PLAYERS,
    OBSERVATORY,
    SLIPPERY,
    TORUS,
)
from generals_env.errors import ConfigError
from generals_env.replay.recorded_game import UNKNOWN, RecordedGame

__all__ = ["MAX_LIKELY", "EncodedGame", "encode_game"]

#: Number of the likeliest actions of a player and turn whose probabilities the page holds, if they are at least 1/255.
MAX_LIKELY = 24

#: Characters of a text of other people that the page holds, and number of further facts.
MAX_TEXT, MAX_DETAILS = 300, 100

#: Modifiers that do not change what players see, city state (bit 1) included.
ORDINARY_SIGHT = LEAPFROG | DEFENSELESS | TORUS | SLIPPERY | 1 << 1

#: Kinds of actions; a move has the kind 2 + 2 * direction + half.
PASS_KIND, UNKNOWN_KIND, MOVE_KIND, BUILD_KIND = 0, 1, 2, 10

#: Owners from -6 (observatory) to 15, and 8 terrains, in one byte; 0 says that both stay.
FIRST_OWNER, TERRAINS = -6, 8

Integers = npt.NDArray[np.int64]


class EncodedGame(NamedTuple):
    """A game as the page holds it.

    Attributes:
        head: Facts by name, for JSON.
        body: Bytes, compressed, as base64.
    """

    head: dict[str, Any]
    body: str


def encode_game(game: RecordedGame, level: int = 9) -> EncodedGame:
    """Return a game as the page holds it.

    Args:
        game: The game.
        level: Compression level of zlib, from 0 to 9.

    Raises:
        ConfigError: If the arrays of the game do not belong together, or an action does not exist.
    """
    check_game(game)
    boards = game.boards
    start = boards.games[0]
    rows, columns = int(start["rows"]), int(start["columns"])
    height, width = int(start["height"]), int(start["width"])
    kinds, tiles = split_actions(game.actions, height, width, rows, columns)
    general = boards.players["general"][0].astype(np.int64)
    generals = np.where(general >= 0, general // width * columns + general % width, -1)
    competition = bool(start["version"] == COMPETITION_VERSION)
    modifiers = 0 if competition else int(start["modifiers"])
    towers = np.isin(boards.terrain[0], (LOOKOUT, OBSERVATORY)).any()
    head = {
        "id": shortened(game.id),
        "names": [shortened(name) for name in game.names] or [f"player_{player}" for player in range(game.players)],
        "details": {shortened(name): shortened(value) for name, value in list(game.details.items())[:MAX_DETAILS]},
        "rows": rows,
        "columns": columns,
        "players": game.players,
        "teams": boards.players["team"][0].tolist(),
        "generals": generals.tolist(),
        "first": int(start["turn"]),
        "turns": game.turns,
        "alive": changes_of_alive(boards.players["alive"]),
        "torus": bool(modifiers & TORUS),
        "fog": bool(start["fog"]),
        "partial_sight": bool(modifiers & ~ORDINARY_SIGHT or towers),
        "competition": competition,
        "has_rewards": game.rewards is not None,
        "has_values": game.values is not None,
        "has_probabilities": game.probabilities is not None,
    }
    sections = [encode_boards(game, rows, columns), encode_actions(kinds, tiles, rows, columns, bool(head["torus"]))]
    sections += [planes(column) for column in (game.rewards, game.values) if column is not None]
    if game.probabilities is not None:
        sections.append(encode_probabilities(game.probabilities, height, width, rows, columns))
    return EncodedGame(head, base64.b64encode(zlib.compress(b"".join(sections), level)).decode("ascii"))


def check_game(game: RecordedGame) -> None:
    """Raise ``ConfigError`` if the arrays of a game do not belong together, or an action does not exist."""
    turns, players, tiles = game.turns, game.players, game.boards.owner.shape[1]
    frames = game.boards.owner.shape[0]
    if frames != turns + 1 or game.boards.players.shape[1] != players:
        raise ConfigError(
            f"games: expected one board more than turns, and actions of {game.boards.players.shape[1]} players, got {frames} "
            f"boards and actions of {turns} turns and {players} players"
        )
    if not 1 <= players <= MAX_PLAYERS:
        raise ConfigError(f"games: expected 1 to {MAX_PLAYERS} players, got {players}")
    if game.names and len(game.names) != players:
        raise ConfigError(f"games: expected {players} names or none, got {len(game.names)}")
    if turns and not UNKNOWN <= int(game.actions.min()) <= int(game.actions.max()) <= 9 * tiles:
        raise ConfigError(
            f"games: expected actions from {UNKNOWN} to {9 * tiles}, got {game.actions.min()} to {game.actions.max()}"
        )
    for name in ("rewards", "values", "probabilities"):
        column = getattr(game, name)
        if column is not None and column.shape[:2] != (turns, players):
            raise ConfigError(f"games: expected {name} of shape ({turns}, {players}, ...), got {column.shape}")


def shortened(text: object) -> str:
    """Return a text with at most ``MAX_TEXT`` characters."""
    text = str(text)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."


def changes_of_alive(alive: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Return ``[board, bits of the players who are alive]`` for the first board and each that differs from the one before."""
    masks = (alive.astype(np.int64) << np.arange(alive.shape[1])).sum(axis=1)
    changed = np.flatnonzero(np.diff(masks, prepend=-1))
    changes: list[list[int]] = np.stack([changed, masks[changed]], axis=1).tolist()
    return changes


def split_actions(actions: Integers, height: int, width: int, rows: int, columns: int) -> tuple[Integers, Integers]:
    """Return kinds and tiles of action indices; tiles count on the board without padding, and are 0 where there are none."""
    tiles = height * width
    kinds = np.full(actions.shape, PASS_KIND, np.int64)
    kinds[actions == UNKNOWN] = UNKNOWN_KIND
    moves, builds = (actions >= 0) & (actions < 8 * tiles), actions > 8 * tiles
    within = actions % (4 * tiles)
    kinds[moves] = (MOVE_KIND + 2 * (within % 4) + actions // (4 * tiles))[moves]
    kinds[builds] = BUILD_KIND
    tile = np.where(moves, within // 4, np.where(builds, actions - 8 * tiles - 1, 0))
    row, column = tile // width, tile % width
    outside = (row >= rows) | (column >= columns)  # on the padding nothing can happen
    kinds[outside] = PASS_KIND
    return kinds, np.where(outside, 0, row * columns + column)


def encode_boards(game: RecordedGame, rows: int, columns: int) -> bytes:
    """Return the first board, and for each turn the number of tiles that change, their gaps, growths and new kinds."""
    start = game.boards.games[0]
    shape = (-1, int(start["height"]), int(start["width"]))
    owner, army, terrain = (
        field.reshape(shape)[:, :rows, :columns].reshape(-1, rows * columns)
        for field in (game.boards.owner, game.boards.army, game.boards.terrain)
    )
    turned = (owner[1:] != owner[:-1]) | (terrain[1:] != terrain[:-1])
    turn, tile = np.nonzero(turned | (army[1:] != army[:-1]))
    counts = np.bincount(turn, minlength=game.turns)
    gaps = tile.copy()
    gaps[1:] = np.where(turn[1:] == turn[:-1], tile[1:] - tile[:-1] - 1, tile[1:])
    growth = (army[turn + 1, tile] - army[turn, tile]).astype(np.int64)  # of 32 bits, as the page adds it
    kind = 1 + (owner[turn + 1, tile].astype(np.int64) - FIRST_OWNER) * TERRAINS + terrain[turn + 1, tile]
    return b"".join(
        [
            owner[0].tobytes(),
            terrain[0].tobytes(),
            varints(zigzag(army[0].astype(np.int64))),
            varints(counts),
            varints(gaps),
            varints(zigzag(growth)),
            np.where(turned[turn, tile], kind, 0).astype(np.uint8).tobytes(),
        ]
    )


def encode_actions(kinds: Integers, tiles: Integers, rows: int, columns: int, torus: bool) -> bytes:
    """Return the kinds of all actions, player by player, and the distance of each from where the one before led.

    An army mostly moves on from the tile that it moved to, so most distances are 0.
    """
    pieces = [kinds.T.astype(np.uint8).tobytes()]
    direction = np.clip((kinds - MOVE_KIND) >> 1, 0, 3)
    offsets = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])[direction]
    row, column = tiles // columns + offsets[..., 0], tiles % columns + offsets[..., 1]
    row, column = (row % rows, column % columns) if torus else (np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1))
    target = np.where(kinds == BUILD_KIND, tiles, row * columns + column)
    for player in range(kinds.shape[1]):
        known = kinds[:, player] >= MOVE_KIND
        expected = np.concatenate([[0], target[known, player][:-1]])[: known.sum()]
        pieces.append(varints(zigzag(tiles[known, player] - expected)))
    return b"".join(pieces)


def encode_probabilities(probabilities: npt.NDArray[np.floating], height: int, width: int, rows: int, columns: int) -> bytes:
    """Return the likeliest actions, player by player: how many, their kinds, tiles and shares of 255."""
    turns, players, count = probabilities.shape
    flat = np.nan_to_num(probabilities).transpose(1, 0, 2).reshape(players * turns, count)
    keep = min(MAX_LIKELY, count)
    top = np.argpartition(-flat, keep - 1, axis=1)[:, :keep]
    share = np.rint(np.clip(np.take_along_axis(flat, top, axis=1), 0, 1) * 255).astype(np.int64)
    order = np.argsort(-share, axis=1, kind="stable")
    top, share = np.take_along_axis(top, order, axis=1), np.take_along_axis(share, order, axis=1)
    kept = share > 0
    kinds, tiles = split_actions(top[kept].astype(np.int64), height, width, rows, columns)
    return b"".join(
        [
            kept.sum(axis=1).astype(np.uint8).tobytes(),
            kinds.astype(np.uint8).tobytes(),
            varints(tiles),
            share[kept].astype(np.uint8).tobytes(),
        ]
    )


def planes(column: npt.NDArray[np.float32]) -> bytes:
    """Return (T, P) numbers as float32, player by player, all lowest bytes first: they compress better."""
    numbers = np.ascontiguousarray(column.T, dtype="<f4")
    return np.ascontiguousarray(numbers.reshape(-1).view(np.uint8).reshape(-1, 4).T).tobytes()


def zigzag(numbers: Integers) -> Integers:
    """Return 0, 1, 2, 3, ... for 0, -1, 1, -2, ..."""
    return (numbers << 1) ^ (numbers >> 63)


def varints(numbers: Integers) -> bytes:
    """Return numbers below 2**32 as bytes of 7 bits, the lowest first; the top bit says that more follow."""
    lengths = np.ones(len(numbers), np.int64)
    for bits in (7, 14, 21, 28):
        lengths += numbers >= 1 << bits
    starts = np.cumsum(lengths) - lengths
    out = np.zeros(int(lengths.sum()), np.uint8)
    for k in range(int(lengths.max(initial=0))):
        long = lengths > k
        out[starts[long] + k] = (numbers[long] >> 7 * k & 127) | np.where(lengths[long] > k + 1, 128, 0)
    return out.tobytes()
