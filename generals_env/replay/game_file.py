"""Writes and reads files of this package with a recorded game, ``.generals``: first board and actions, a few hundred bytes.

The boards are played again on reading. The file has a checksum of the last board, so an engine with other rules refuses it.
Where the actions do not lead to the recorded board, as in records of boards whose actions are not known, the file has what
differs: so all boards are read as they were recorded. Rewards, values and probabilities are not kept.

Layout, version 1: ``GENS``, the version as a byte, and a frame of zstd with a checksum. In it: ``HEAD``, then arrays as
``_Writer`` writes them, byte planes in little-endian order.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from generals_env.engine.boards import (
    COMPETITION_VERSION,
    LIVE_VERSION,
    MAX_PLAYERS,
    Boards,
    copy_boards,
)
from generals_env.engine.rules.action_space import action_count
from generals_env.errors import ReplayError
from generals_env.replay.action_codes import coded_actions, decoded_actions
from generals_env.replay.board_arrays import (
    MAX_TURN,
    ArrayReader,
    ArrayWriter,
    read_corrections,
    read_start,
    write_corrections,
    write_start,
)
from generals_env.replay.recorded_game import SURRENDERED, RecordedGame
from generals_env.replay.recorded_turns import check_size
from generals_env.replay.resimulation import different_boards, play_actions, play_each

__all__ = ["MAGIC", "SUFFIX", "decode", "encode"]

SUFFIX = ".generals"

MAGIC = b"GENS"

#: Version of the layout.
VERSION = 1

#: H, W, rows, columns, players, version of the rules, modifiers, fog, first turn, its last move, turns, events, corrections,
#: tiles given with actions, bytes of the text, checksum of the last board.
HEAD = struct.Struct("<HHHHBBQBIiIIIIII")

LEVEL = 19  # of zstd; a game is small

MAX_BYTES = 2**26  # of the frame's content
MAX_SIDE = 128

#: Players leave at most twice each; boards that actions do not lead to are one for each turn of a record without actions.
MAX_EVENTS, MAX_CORRECTIONS = 2 * MAX_PLAYERS, 10_000

Array = npt.NDArray[Any]


def encode(game: RecordedGame) -> bytes:
    """Return the content of a file with a game.

    Raises:
        ReplayError: If the game has no player, or its boards are not those of consecutive turns of one game.
    """
    boards, turns, players = game.boards, game.turns, game.players
    first = boards.games[0]
    require_one_game(game)
    shape, extent = (int(first["height"]), int(first["width"])), (int(first["rows"]), int(first["columns"]))
    after = play_each(game)
    wrong = np.flatnonzero(different_boards(after, Boards._make(array[1:] for array in boards)))
    if len(wrong) > MAX_CORRECTIONS or len(game.events) > MAX_EVENTS:
        raise ReplayError(
            f"game: expected at most {MAX_EVENTS} events and {MAX_CORRECTIONS} boards that actions do not lead to, got "
            f"{len(game.events)} and {len(wrong)}: record actions, too"
        )
    codes, tiles = coded_actions(game.actions, shape, extent)
    text = text_of(game)
    writer = ArrayWriter()
    write_start(writer, boards)
    writer.add(codes, "u1")
    writer.add(tiles, "u2")
    for column in range(3):
        writer.add(game.events[:, column], "i4")
    write_corrections(writer, boards, after, wrong)
    head = HEAD.pack(
        *shape,
        *extent,
        players,
        int(first["version"]),
        int(first["modifiers"]),
        int(first["fog"]),
        int(first["turn"]),
        int(first["last_move"]),
        turns,
        len(game.events),
        len(wrong),
        len(tiles),
        len(text),
        checksum(boards, turns),
    )
    parameters = zstandard.ZstdCompressionParameters.from_level(LEVEL, write_checksum=1, write_content_size=1)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compress(b"".join([head, text, *writer.parts]))
    return MAGIC + bytes([VERSION]) + frame


def require_one_game(game: RecordedGame) -> None:
    """Check that boards are those of consecutive turns of one game within the limits of the format."""
    boards, games = game.boards, game.boards.games
    if not 1 <= game.players <= MAX_PLAYERS or len(games) != game.turns + 1:
        raise ReplayError(
            f"game: expected 1 to {MAX_PLAYERS} players and a board more than turns, got {game.players} players, "
            f"{len(games)} boards and {game.turns} turns"
        )
    numbers = games["turn"] - games["turn"][0]
    if (numbers != np.arange(len(numbers))).any():
        at = int(np.flatnonzero(numbers != np.arange(len(numbers)))[0])
        raise ReplayError(f"boards: expected one for each turn, got turn {int(games['turn'][at])} as number {at}")
    for name in ("height", "width", "rows", "columns", "version", "modifiers", "fog"):
        if (games[name] != games[name][0]).any():
            raise ReplayError(
                f"boards: expected one {name}, got {np.unique(games[name]).tolist()[:4]}: save each game by itself"
            )
    check_size(game.turns, boards.owner.shape[1])
    limit = action_count(int(games["version"][0]), boards.owner.shape[1])
    if game.turns and not -1 <= game.actions.min() <= game.actions.max() < limit:
        raise ReplayError(f"actions: expected indices from -1 to {limit - 1}, got {game.actions.min()} to {game.actions.max()}")


def text_of(game: RecordedGame) -> bytes:
    """Return id, names and details as JSON in UTF-8; empty without them."""
    usual = tuple(f"player_{player}" for player in range(game.players))
    names = [] if tuple(game.names) == usual else list(game.names)
    text = {"id": game.id, "names": names, "details": dict(game.details)}
    kept = {name: value for name, value in text.items() if value}
    try:
        # Names may hold halves of surrogate pairs, as the live game cuts names by UTF-16 units.
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") if kept else b""
    except (TypeError, ValueError) as error:
        raise ReplayError(f"game: expected text for id, names and details, got {kept!r:.200} ({error})") from error


def checksum(boards: Boards, b: int) -> int:
    """Return a CRC-32 of board ``b``."""
    value = zlib.crc32(boards.army[b].astype("<i4").tobytes(), zlib.crc32(boards.owner[b].tobytes()))
    value = zlib.crc32(boards.terrain[b].tobytes(), value)
    for name in ("general", "alive"):
        value = zlib.crc32(boards.players[name][b].astype("<i4").tobytes(), value)
    return value


# --- Reading ------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> RecordedGame:
    """Return the game of a file's content.

    Raises:
        ReplayError: If the content is damaged, of another version, or of an engine with other rules.
    """
    if data[: len(MAGIC)] != MAGIC or len(data) <= len(MAGIC):
        raise ReplayError(f"expected a file that begins with {MAGIC!r}, got {data[: len(MAGIC)]!r}: it is no {SUFFIX} file")
    if data[len(MAGIC)] != VERSION:
        raise ReplayError(
            f"expected a {SUFFIX} file of version {VERSION}, got version {data[len(MAGIC)]}: use a newer generals_env"
        )
    try:
        return parsed(unpacked(data[len(MAGIC) + 1 :]))
    except ReplayError:
        raise
    except (ValueError, KeyError, TypeError, struct.error, zstandard.ZstdError, RecursionError) as error:
        raise ReplayError(f"expected a whole {SUFFIX} file, got a damaged one ({error}): copy it again") from error


def unpacked(frame: bytes) -> bytes:
    """Return the content of a frame of zstd, of limited size."""
    size = zstandard.get_frame_parameters(frame).content_size
    if size in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR) or size > MAX_BYTES:
        raise ValueError(f"expected content of at most {MAX_BYTES} bytes, got another size")
    return zstandard.ZstdDecompressor(max_window_size=MAX_BYTES).decompress(frame, allow_extra_data=False)


HEAD_FIELDS = {
    "height": (1, MAX_SIDE),
    "width": (1, MAX_SIDE),
    "rows": (1, MAX_SIDE),
    "columns": (1, MAX_SIDE),
    "players": (1, MAX_PLAYERS),
    "version": (1, COMPETITION_VERSION),
    "modifiers": (0, 2**62),
    "fog": (0, 1),
    "turn": (0, MAX_TURN),
    "last_move": (-1, MAX_TURN),
    "turns": (0, MAX_TURN),
    "events": (0, MAX_EVENTS),
    "corrections": (0, MAX_CORRECTIONS),
    "tiles": (0, MAX_BYTES),
    "text": (0, MAX_BYTES),
    "checksum": (0, 2**32),
}


def read_head(data: bytes) -> dict[str, int]:
    """Return the numbers at the beginning, within their limits."""
    head = dict(zip(HEAD_FIELDS, HEAD.unpack_from(data), strict=True))
    for name, (low, high) in HEAD_FIELDS.items():
        if not low <= head[name] <= high:
            raise ValueError(f"{name}: expected a number from {low} to {high}, got {head[name]}")
    if head["rows"] > head["height"] or head["columns"] > head["width"]:
        raise ValueError("rows, columns: expected a board within its padding")
    if LIVE_VERSION < head["version"] < COMPETITION_VERSION:
        raise ValueError(f"version: expected at most {LIVE_VERSION}, or {COMPETITION_VERSION}, got {head['version']}")
    check_size(head["turns"], head["height"] * head["width"])
    return head


def parsed(data: bytes) -> RecordedGame:
    """Return the game in decompressed bytes; invalid ones raise one of several exceptions."""
    head = read_head(data)
    text = data[HEAD.size : HEAD.size + head["text"]]
    reader = ArrayReader(data, HEAD.size + head["text"])
    start = read_start(reader, head)
    turns, players = head["turns"], head["players"]
    shape, extent = (head["height"], head["width"]), (head["rows"], head["columns"])
    codes = reader.take(turns * players, "u1", 0, 255, "codes")
    tiles = reader.take(head["tiles"], "u2", 0, shape[0] * shape[1] - 1, "tiles").astype(np.int64)
    actions = decoded_actions(codes, tiles, players, shape, extent)
    if turns and actions.max() >= action_count(head["version"], shape[0] * shape[1]):
        raise ValueError("actions: expected moves, got a castle with rules that have none")
    limits = {"player": players - 1, "turn": 2 * MAX_TURN, "kind": SURRENDERED}
    events = np.stack([reader.take(head["events"], "i4", 0, high, name) for name, high in limits.items()], axis=1)
    corrections = read_corrections(reader, head)
    if reader.at != len(data):
        raise ValueError(f"expected {reader.at} bytes, got {len(data)}")
    boards = play_corrected(start, actions, events, corrections)
    if checksum(boards, turns) != head["checksum"]:
        raise ReplayError(
            "checksum: expected the last board that was written after playing the actions again, got another one: "
            "the file was written by an engine with other rules"
        )
    names, game_id, details = read_text(text, players)
    return RecordedGame(boards, actions, game_id, names, details=details, events=events)


def play_corrected(start: Boards, actions: Array, events: Array, corrections: list[tuple[int, Boards, Array]]) -> Boards:
    """Return all boards, T + 1 of them."""
    first = int(start.games["turn"][0])
    parts, low, board = [], 0, start
    for turn, right, tiles in corrections:
        at = events[:, 1] - first
        part = play_actions(board, actions[low : turn + 1], events[(at >= low) & (at <= turn)])
        part.owner[-1, tiles] = right.owner[0, tiles]
        part.army[-1, tiles] = right.army[0, tiles]
        part.terrain[-1, tiles] = right.terrain[0, tiles]
        part.players[-1] = right.players[0]
        part.games["last_move"][-1] = right.games["last_move"][0]
        parts.append(Boards._make(array[:-1] for array in part))
        low, board = turn + 1, copy_boards(part, slice(-1, None))
    parts.append(play_actions(board, actions[low:], events[events[:, 1] - first >= low]))
    return Boards._make(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def read_text(text: bytes, players: int) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """Return names, id and details."""
    kept = json.loads(text.decode("utf-8", "surrogatepass")) if text else {}
    if not isinstance(kept, dict):
        raise TypeError("expected a text with id, names and details")
    names = kept.get("names") or [f"player_{player}" for player in range(players)]
    game_id, details = kept.get("id", ""), kept.get("details", {})
    if not isinstance(names, list) or not isinstance(details, dict):
        raise TypeError("expected a list of names and named details")
    if not all(isinstance(one, str) for one in (game_id, *names, *details, *details.values())):
        raise ValueError("expected text for id, names and details")
    return tuple(names), game_id, details
