"""Validates what traces expect of the games of people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ReplayError
from generals_env.replay.fields import listed, whole, wholes
from generals_env.replay.reader import MAX_TURN, Replay

__all__ = ["Expected", "Final", "expected_of_case", "expected_of_trace", "rows_of", "table_of", "with_fog"]

Wholes = npt.NDArray[np.int64]

MAX_CRC = 2**32 - 1
LIMIT = 2**31 - 1
MAX_TOTAL = 2**53 - 1


@dataclass(frozen=True)
class Final:
    """The end of a game, each part None if the trace does not tell it."""

    turn: int | None = None
    over: bool | None = None
    alive: list[int] | None = None
    deaths: list[tuple[int, int]] | None = None
    dead: list[int] | None = None
    cities: list[int] | None = None
    generals: list[int] | None = None


@dataclass
class Expected:
    """What a trace tells of a game; parts that it does not tell are empty or None.

    Attributes:
        turns: Number of turns.
        crc32: Checksum by turn.
        army: (turns + 1, P) int64.
        land: (turns + 1, P) int64.
        alive: (turns + 1,) int64, bit p for player p.
        samples: Whole boards by turn: (owner, army).
        delta: For each turn the tiles that changed, (n, 3) int64: tile, owner, army.
        digest: SHA-256 over the boards of all turns.
        final: The end of the game.
        vis_crc32: Checksum of the visibility masks by turn.
        maps: By turn, the map array that each player is sent.
        diffs: By turn, the change of the map of player 0 since the turn before.
    """

    turns: int
    crc32: dict[int, int] = field(default_factory=dict)
    army: Wholes | None = None
    land: Wholes | None = None
    alive: Wholes | None = None
    samples: dict[int, tuple[Wholes, Wholes]] = field(default_factory=dict)
    delta: list[Wholes] | None = None
    digest: str = ""
    final: Final = field(default_factory=Final)
    vis_crc32: Wholes | None = None
    maps: dict[int, list[Wholes]] = field(default_factory=dict)
    diffs: dict[int, Wholes] = field(default_factory=dict)


def expected_of_trace(trace: Mapping[str, Any], replay: Replay) -> Expected:
    """Return what a trace of the form ``gio-trace-1`` expects.

    Raises:
        ReplayError: If the trace is damaged, or does not fit the replay.
    """
    turns = whole("turns", trace.get("turns"), 0, MAX_TURN)
    tiles, players = replay.height * replay.width, replay.players
    for name, number in (("width", replay.width), ("height", replay.height), ("players", players)):
        if name in trace and whole(name, trace[name], 0, LIMIT) != number:
            raise ReplayError(f"{name}: expected {number} as in the replay, got {trace[name]!r}: pass the trace of this replay")
    require_same_rules(trace, replay)
    expected = Expected(turns, digest=digest_of(trace), final=final_of(trace.get("final")))
    if "crc32" in trace:
        expected.crc32 = dict(enumerate(sized("crc32", wholes("crc32", trace, 0, MAX_CRC), turns + 1).tolist()))
    for name in ("army", "land"):
        if name in trace:
            setattr(expected, name, table_of(name, trace[name], turns + 1, players))
    if "alive" in trace:
        expected.alive = sized("alive", wholes("alive", trace, 0, 2**players - 1), turns + 1)
    for turn, board in items("samples", trace, turns):
        expected.samples[turn] = board_of(f"samples[{turn}]", board, tiles)
    if "delta" in trace:
        rows = listed("delta", trace)
        if len(rows) != turns + 1:
            raise ReplayError(f"delta: expected {turns + 1} lists, one a turn and one of the map, got {len(rows)}")
        expected.delta = [rows_of(f"delta[{turn}]", row, tiles) for turn, row in enumerate(rows)]
        if 0 not in expected.samples:
            raise ReplayError("samples: expected the board of turn 0, with which delta begins, got none")
    return expected


def require_same_rules(trace: Mapping[str, Any], replay: Replay) -> None:
    """Raise ``ReplayError`` if a trace tells another version, other teams or other modifiers than the replay has."""
    version = whole("version", trace.get("version", replay.version), 0, LIMIT)
    told = {name: trace[name] for name in ("teams", "modifiers") if trace.get(name) is not None}
    teams = wholes("teams", told, 0, 127).tolist() or list(range(replay.players))
    modifiers = sorted(wholes("modifiers", told, 0, 14).tolist())
    active = int(replay.start.games[0]["modifiers"])
    rows = (
        ("version", version, replay.version),
        ("teams", teams, replay.start.players["team"][0].tolist()),
        ("modifiers", modifiers, [number for number in range(15) if active >> number & 1]),
    )
    for name, given, known in rows:
        if given != known:
            raise ReplayError(f"{name}: expected {known} as in the replay, got {given!r:.80}: pass the trace of this replay")


def with_fog(expected: Expected, fog: Mapping[str, Any], replay: Replay) -> None:
    """Add what a file of the form ``gio-fog-1`` expects.

    Raises:
        ReplayError: If it is damaged, or does not fit the replay.
    """
    tiles = replay.height * replay.width
    if "vis_crc32" in fog:
        vis = wholes("vis_crc32", fog, 0, MAX_CRC)
        if len(vis) > expected.turns + 1:
            raise ReplayError(f"vis_crc32: expected at most {expected.turns + 1} checksums, one a turn, got {len(vis)}")
        expected.vis_crc32 = vis
    for turn, maps in items("serialized", fog, expected.turns):
        if not isinstance(maps, list) or len(maps) != replay.players:
            raise ReplayError(f"serialized[{turn}]: expected {replay.players} maps, one a player, got {maps!r:.80}")
        name = f"serialized[{turn}]"
        expected.maps[turn] = [sized(name, wholes(name, {name: row}, -LIMIT, LIMIT), 2 * tiles + 2) for row in maps]
    for turn, diff in items("map_diff_player0", fog, expected.turns):
        name = f"map_diff_player0[{turn}]"
        expected.diffs[turn] = wholes(name, {name: diff}, -LIMIT, LIMIT)


def expected_of_case(expect: Any, replay: Replay) -> Expected:
    """Return what a case of a pack of duels or of the synthetic games expects.

    Raises:
        ReplayError: If it is damaged.
    """
    if isinstance(expect, Mapping) and "events" in expect:  # synthetic games: answers of several programs
        expect = expect["events"]
    if not isinstance(expect, Mapping):
        raise ReplayError(f"expect: expected named fields, got {expect!r:.80}")
    turns = whole("turns", expect.get("turns"), 0, MAX_TURN)
    over = expect.get("over")
    expected = Expected(turns, digest=digest_of(expect))
    expected.final = Final(
        over=over if isinstance(over, bool) else None,
        alive=wholes("winners", expect, 0, replay.players - 1).tolist() if over is not False and "winners" in expect else None,
        dead=wholes("deaths", expect, 0, replay.players - 1).tolist() if "deaths" in expect else None,
    )
    if "crc32" in expect:
        expected.crc32 = dict(enumerate(sized("crc32", wholes("crc32", expect, 0, MAX_CRC), turns + 1).tolist()))
    if "crc32_every_25" in expect:
        some = sized("crc32_every_25", wholes("crc32_every_25", expect, 0, MAX_CRC), turns // 25 + 1)
        expected.crc32 |= {25 * number: int(crc) for number, crc in enumerate(some)}
    return expected


def final_of(final: Any) -> Final:
    """Return the end of a game that a trace tells."""
    if final is None:
        return Final()
    if not isinstance(final, Mapping):
        raise ReplayError(f"final: expected named fields, got {final!r:.80}")
    deaths = None
    if "deaths" in final:
        deaths = []
        for record in listed("deaths", final):
            if not isinstance(record, Mapping):
                raise ReplayError(f"final: deaths: expected records of player and turn, got {record!r:.80}")
            turn = whole("final: deaths: turn", record.get("turn"), 0, MAX_TURN)
            deaths.append((whole("final: deaths: player", record.get("player"), 0, 127), turn))
    over = final.get("over")
    if over is not None and not isinstance(over, bool):
        raise ReplayError(f"final: over: expected true or false, got {over!r:.80}")
    return Final(
        turn=whole("final: turn", final["turn"], 0, MAX_TURN) if "turn" in final else None,
        over=over,
        alive=wholes("alive_at_end", final, 0, 127).tolist() if "alive_at_end" in final else None,
        deaths=deaths,
        cities=sorted(wholes("cities", final, 0, LIMIT).tolist()) if "cities" in final else None,
        generals=wholes("generals", {"generals": final["generals"]}, -1, LIMIT).tolist() if "generals" in final else None,
    )


def digest_of(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all boards in a trace; empty if there is none."""
    value = fields.get("state_sha256", "")
    if not isinstance(value, str) or len(value) not in (0, 64):
        raise ReplayError(f"state_sha256: expected 64 hexadecimal digits, got {value!r:.80}")
    return value.lower()


def items(name: str, fields: Mapping[str, Any], last: int) -> list[tuple[int, Any]]:
    """Return a field that maps turns, as text, to values; sorted by turn. No turn is beyond the ``last`` one."""
    value = fields.get(name, {})
    if not isinstance(value, Mapping):
        raise ReplayError(f"{name}: expected values by turn, got {value!r:.80}")
    turns = [(key, int(key) if key.isascii() and key.isdigit() and len(key) < 7 else -1) for key in value]
    for key, turn in turns:
        if not 0 <= turn <= last or key != str(turn):  # "7" and "07" would be two values of a turn
            raise ReplayError(f"{name}: expected turns from 0 to {last} as names, got {key!r:.80}")
    return sorted(((turn, value[key]) for key, turn in turns), key=lambda item: item[0])


def board_of(name: str, board: Any, tiles: int) -> tuple[Wholes, Wholes]:
    """Return owner and army of a whole board."""
    if not isinstance(board, Mapping) or not {"owner", "army"} <= set(board):
        raise ReplayError(f"{name}: expected owner and army, got {board!r:.80}")
    owner, army = (
        sized(f"{name}: {part}", wholes(part, {part: board[part]}, -LIMIT, LIMIT), tiles) for part in ("owner", "army")
    )
    return owner, army


def rows_of(name: str, row: Any, tiles: int) -> Wholes:
    """Return a flat list of tile, owner and army as an array, (n, 3) int64."""
    flat = wholes(name, {name: row}, -LIMIT, LIMIT)
    if len(flat) % 3:
        raise ReplayError(f"{name}: expected three numbers a tile, got {len(flat)} numbers")
    rows = flat.reshape(-1, 3)
    if len(rows) and not (rows[:, 0].min() >= 0 and rows[:, 0].max() < tiles):
        raise ReplayError(f"{name}: expected tiles from 0 to {tiles - 1}, got {rows[:, 0].min()} to {rows[:, 0].max()}")
    return rows


def table_of(name: str, value: Any, length: int, columns: int) -> Wholes:
    """Return a list of ``length`` lists of ``columns`` whole numbers as an array.

    Raises:
        ReplayError: If it is not one.
    """
    rows = listed(name, {name: value})
    if len(rows) != length:
        raise ReplayError(f"{name}: expected {length} lists, got {len(rows)}")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != columns:
            raise ReplayError(f"{name}[{number}]: expected {columns} whole numbers, got {row!r:.80}")
    flat = [item for row in rows for item in row]
    return wholes(name, {name: flat}, -MAX_TOTAL, MAX_TOTAL).reshape(length, columns)


def sized(name: str, array: Wholes, length: int) -> Wholes:
    """Return an array if it has ``length`` items.

    Raises:
        ReplayError: If it has not.
    """
    if len(array) != length:
        raise ReplayError(f"{name}: expected {length} numbers, got {len(array)}")
    return array
