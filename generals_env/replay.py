"""Recorded games of people: read from files, checked, and played again turn by turn.

Three forms are read: ``.gior`` (the live game's own, compressed), JSON with named fields (``.gioreplay`` and others), and
JSON lists in the order of the format; each also gzipped.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arguments import as_config
from generals_env.collector import Collector, Transition
from generals_env.config import RewardConfig
from generals_env.engine import rules
from generals_env.engine.boards import (
    CITY,
    DEFENSELESS,
    DESERT,
    GENERAL,
    LEAPFROG,
    LIVE_VERSION,
    LOOKOUT,
    MAX_PLAYERS,
    MOUNTAIN,
    NEUTRAL,
    OBSERVATORY,
    OWNER_LOOKOUT,
    OWNER_MOUNTAIN,
    OWNER_OBSERVATORY,
    PLAIN,
    SLIPPERY,
    SWAMP,
    TORUS,
    Boards,
    copy_boards,
    empty_boards,
)
from generals_env.engine.sight import visible_to
from generals_env.engine.turn import AFTER, BEFORE, replay_turn
from generals_env.errors import ReplayError
from generals_env.lz_string import MOST_CHARACTERS, decompress

__all__ = ["Replay", "ReplayTurn", "from_dict", "read"]

#: Names of the format's positions; those we have no use for are passed over.
POSITIONS = {
    0: "version",
    1: "id",
    2: "mapWidth",
    3: "mapHeight",
    6: "cities",
    7: "cityArmies",
    8: "generals",
    9: "mountains",
    10: "moves",
    11: "afks",
    12: "teams",
    14: "neutrals",
    15: "neutralArmies",
    16: "swamps",
    19: "lights",
    21: "modifiers",
    22: "observatories",
    23: "lookouts",
    24: "deserts",
    28: "tunnels",
    34: "strongholds",
}

MOST_BYTES = 64 * 2**20  # of a file, before and after gzip
MOST_SIDE = 128
MOST_MOVES = 2_000_000
MOST_TURN = 60_000  # the live game ends at 50,000 (rule 27)
MOST_ARMY = 10**6

CITY_STATE, WATCHTOWER = 1 << 1, 1 << 6
#: Modifiers under which a replay plays; city state and watchtower change neither moves nor armies in a replay.
PLAYABLE = LEAPFROG | DEFENSELESS | TORUS | SLIPPERY | CITY_STATE | WATCHTOWER

#: Tiles are few kinds: the field that lists them, owner and terrain.
KINDS = (
    ("mountains", OWNER_MOUNTAIN, MOUNTAIN),
    ("lookouts", OWNER_LOOKOUT, LOOKOUT),
    ("observatories", OWNER_OBSERVATORY, OBSERVATORY),
    ("swamps", NEUTRAL, SWAMP),
    ("deserts", NEUTRAL, DESERT),
)


class ReplayTurn(NamedTuple):
    """The game at one turn.

    Attributes:
        turn: Updates played so far.
        owner: (H, W) int8, codes of ``engine.boards.Boards``.
        army: (H, W) int32.
        alive: (players,) bool.
        boards: The same as one board of the engine.
        hidden: Why it cannot be told who sees what; empty if it can.
    """

    turn: int
    owner: npt.NDArray[np.int8]
    army: npt.NDArray[np.int32]
    alive: npt.NDArray[np.bool_]
    boards: Boards
    hidden: str

    def visible(self, player: int) -> npt.NDArray[np.bool_]:
        """Return (H, W) bool: what ``player`` sees.

        Raises:
            ReplayError: If there is no such player, or the game has tiles or modifiers whose sight is not built.
        """
        if self.hidden:
            raise ReplayError(f"visible: expected a game with ordinary sight, got {self.hidden}")
        if not 0 <= player < self.alive.shape[0]:
            raise ReplayError(f"player: expected an index from 0 to {self.alive.shape[0] - 1}, got {player!r}")
        bits = np.empty(self.owner.size, np.uint32)
        visible_to(self.boards, 0, bits)
        return ((bits >> np.uint32(player)) & 1).astype(np.bool_).reshape(self.owner.shape)


@dataclass(frozen=True)
class Replay:
    """A recorded game.

    Attributes:
        id: As in the file, may be empty.
        version: Version of the format, which says in what order moves happen.
        players: How many.
        height: Rows.
        width: Columns.
        start: The board at turn 0 (one board).
        moves: (M, 5) int32: player, start, end, half, turn; in file order.
        events: (E, 2) int32: player and turn of each surrender or time-out; in file order.
        hidden: Why it cannot be told who sees what; empty if it can.
    """

    id: str
    version: int
    players: int
    height: int
    width: int
    start: Boards = field(repr=False)
    moves: npt.NDArray[np.int32] = field(repr=False)
    events: npt.NDArray[np.int32] = field(repr=False)
    hidden: str = ""

    @property
    def last_turn(self) -> int:
        """The turn at which playing stops at the latest: three after the last that is recorded."""
        last = -1
        for recorded in (self.moves[:, 4], self.events[:, 1]):
            if len(recorded):
                last = max(last, int(recorded.max()))
        return last + 3

    def play(self) -> Iterator[ReplayTurn]:
        """Yield the game at every turn, from turn 0 to the end."""
        yield self._turn(self.start)
        for transition in self._transitions(RewardConfig()):
            yield self._turn(copy_boards(transition.boards, slice(AFTER, AFTER + 1)))

    def collect(self, collector: Collector, reward: RewardConfig | None = None) -> None:
        """Play the game for ``collector``, as an environment would.

        A player whose game goes on at the end of the recording is truncated there.

        Args:
            collector: Who wants to see every turn.
            reward: Weights of the reward, a ``RewardConfig`` or a mapping of its fields; the default ones without.

        Raises:
            ReplayError: If the game has tiles or modifiers whose sight is not built.
        """
        if self.hidden:
            raise ReplayError(f"replay {self.id!r}: expected a game with ordinary sight, got {self.hidden}")
        for transition in self._transitions(as_config("reward", RewardConfig, reward, RewardConfig())):
            collector.on_state_transition(transition)
        collector.on_game_end()

    def _turn(self, boards: Boards) -> ReplayTurn:
        shape = (self.height, self.width)
        return ReplayTurn(
            turn=int(boards.games[0]["turn"]),
            owner=boards.owner[0].reshape(shape),
            army=boards.army[0].reshape(shape),
            alive=boards.players["alive"][0],
            boards=boards,
            hidden=self.hidden,
        )

    def _transitions(self, reward: RewardConfig) -> Iterator[Transition]:
        """Yield every turn; the arrays are the same ones again and again."""
        boards = copy_boards(self.start, np.array([0, 0]))
        players = self.players
        active = boards.players["alive"][AFTER].copy()
        actions = np.zeros(players, np.int64)
        terminated = np.zeros(players, np.bool_)
        rewards = np.zeros(players, np.float32)
        heads = np.zeros(players, np.int32)
        illegal = np.zeros(players, np.bool_)
        weights = reward.weights()
        # Queues are first in, first out in file order, whatever the turns say.
        queued_by = np.maximum.accumulate(self.moves[:, 4]) if len(self.moves) else self.moves[:, 4]
        last, next_event, changed = self.last_turn, 0, False
        # A game in which nobody is left alive runs on (rule 28).
        while rules.winner(boards, AFTER) < 0 and boards.games[AFTER]["turn"] < last:
            turn = int(boards.games[AFTER]["turn"])
            while next_event < len(self.events) and self.events[next_event, 1] <= turn:
                player = int(self.events[next_event, 0])
                if boards.players[AFTER, player]["alive"]:
                    rules.kill(boards, AFTER, player)
                else:
                    rules.neutralise(boards, AFTER, player)
                changed = True
                next_event += 1
            buffered = int(np.searchsorted(queued_by, turn, side="right"))
            replay_turn(boards, BEFORE, AFTER, self.moves, heads, buffered, active, weights, actions, terminated, rewards)
            over = rules.winner(boards, AFTER) >= 0 or turn + 1 >= last
            truncated = active & ~terminated & over
            yield Transition(boards, turn > 0 and not changed, active, actions, illegal, rewards, terminated, truncated)
            active &= ~(terminated | truncated)
            changed = False


def read(path: str | Path) -> Replay:
    """Return the replay in a file: ``.gior``, or JSON with named or positional fields; gzipped or not.

    Raises:
        ReplayError: If the file cannot be read, is damaged, or needs rules that are not built.
    """
    try:
        path = Path(path)
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if data[:2] == b"\x1f\x8b":
            with gzip.open(path) as archive:
                data = archive.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error, TypeError, ValueError) as error:  # a null byte is a ValueError
        raise ReplayError(f"path: expected a readable file, got {str(path)!r} ({error})") from error
    if len(data) > MOST_BYTES:
        raise ReplayError(f"path: expected at most {MOST_BYTES} bytes, got more in {str(path)!r}")
    try:
        if data.lstrip()[:1] in (b"{", b"["):
            text = data.decode()
        else:
            text = decompress(data, MOST_CHARACTERS)
        fields = json.loads(text)
        return from_dict(fields)
    except (ValueError, RecursionError) as error:
        raise ReplayError(f"{path.name}: {error}") from error


def from_dict(fields: Mapping[str, Any] | Sequence[Any]) -> Replay:
    """Return the replay that named fields (or a list in the order of the format) describe.

    Raises:
        ReplayError: If a field is missing or has a value it cannot have, or the game needs rules that are not built.
    """
    if isinstance(fields, list):
        fields = {name: fields[position] for position, name in POSITIONS.items() if position < len(fields)}
    if not isinstance(fields, Mapping):
        raise ReplayError(f"replay: expected named fields or a list, got {type(fields).__name__}")
    version = whole("version", fields.get("version"), 1, LIVE_VERSION)
    width = whole("mapWidth", fields.get("mapWidth"), 1, MOST_SIDE)
    height = whole("mapHeight", fields.get("mapHeight"), 1, MOST_SIDE)
    for name in ("tunnels", "strongholds"):
        if fields.get(name):
            raise ReplayError(f"{name}: expected none (not built), got {len(listed(name, fields))}")
    modifiers = 0
    for number in listed("modifiers", fields):
        modifiers |= 1 << whole("modifiers", number, 0, 14)
    if modifiers & ~PLAYABLE:
        refused = [number for number in range(15) if modifiers & ~PLAYABLE & 1 << number]
        raise ReplayError(f"modifiers: expected some of 0, 1, 5, 6, 7, 10 (others are not built), got {refused}")
    start = starting_board(fields, version, height, width, modifiers)
    players = start.players.shape[1]
    tiles = height * width
    moves = rows("moves", fields, ("index", "start", "end", "is50", "turn"), (players, tiles, tiles, 2, MOST_TURN))
    events = rows("afks", fields, ("index", "turn"), (players, MOST_TURN))
    hidden = ", ".join(name for name in ("lookouts", "observatories", "lights") if fields.get(name))
    if modifiers & WATCHTOWER:
        hidden = ", ".join(filter(None, (hidden, "modifier 6 (watchtower)")))
    return Replay(str(fields.get("id", "")), version, players, height, width, start, moves, events, hidden)


def starting_board(fields: Mapping[str, Any], version: int, height: int, width: int, modifiers: int) -> Boards:
    """Return the board at turn 0 (one board)."""
    tiles = height * width
    generals = listed("generals", fields)
    if not 1 <= len(generals) <= MAX_PLAYERS:
        raise ReplayError(f"generals: expected 1 to {MAX_PLAYERS}, got {len(generals)}")
    boards = empty_boards(1, height, width, len(generals), version, modifiers)
    boards.owner[:] = NEUTRAL
    boards.terrain[:] = PLAIN
    for name, owner, terrain in KINDS:
        for tile in listed(name, fields):
            boards.owner[0, whole(name, tile, 0, tiles - 1)] = owner
            boards.terrain[0, tile] = terrain
    for name, armies in (("cities", "cityArmies"), ("neutrals", "neutralArmies")):
        places, sizes = listed(name, fields), listed(armies, fields)
        if len(places) != len(sizes):
            raise ReplayError(f"{armies}: expected {len(places)}, one for each of {name}, got {len(sizes)}")
        for tile, army in zip(places, sizes, strict=True):
            boards.army[0, whole(name, tile, 0, tiles - 1)] = whole(armies, army, -MOST_ARMY, MOST_ARMY)
            boards.owner[0, tile] = NEUTRAL
            if name == "cities":
                boards.terrain[0, tile] = CITY
    for player, tile in enumerate(generals):
        if tile is None:  # never spawned
            boards.players[0, player]["alive"] = False
            continue
        if boards.owner[0, whole("generals", tile, 0, tiles - 1)] >= 0:
            raise ReplayError(f"generals: expected different tiles, got {tile} twice")
        boards.players[0, player]["general"] = tile
        boards.owner[0, tile] = player
        boards.army[0, tile] = 1
        boards.terrain[0, tile] = GENERAL
    teams = listed("teams", fields)
    if teams:
        if len(teams) != len(generals):
            raise ReplayError(f"teams: expected one for each of {len(generals)} players, got {len(teams)}")
        boards.players["team"][0] = [whole("teams", team, 0, 127) for team in teams]
    return boards


def whole(name: str, value: Any, least: int, most: int) -> int:
    """Return ``value`` if it is a whole number in range; raise ``ReplayError`` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ReplayError(f"{name}: expected a whole number from {least} to {most}, got {value!r:.80}")
    return value


def listed(name: str, fields: Mapping[str, Any]) -> list[Any]:
    """Return a field that is a list; nothing counts as an empty one."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MOST_MOVES:
        raise ReplayError(f"{name}: expected a list of at most {MOST_MOVES}, got {value!r:.80}")
    return value


def rows(name: str, fields: Mapping[str, Any], keys: tuple[str, ...], limits: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """Return a list of records, each a list or an object with ``keys``, as an array of whole numbers below ``limits``."""
    table = []
    for record in listed(name, fields):
        if isinstance(record, Mapping):
            record = [record.get(key) for key in keys]  # noqa: PLW2901 - the same record in its other form
        if not isinstance(record, list) or len(record) != len(keys):
            raise ReplayError(f"{name}: expected records of {', '.join(keys)}, got {record!r:.80}")
        # A flag may be written as true or false.
        table.append(
            [
                whole(f"{name}: {key}", int(value) if isinstance(value, bool) else value, 0, limit - 1)
                for key, value, limit in zip(keys, record, limits, strict=True)
            ]
        )
    return np.array(table, np.int32).reshape(-1, len(keys))
