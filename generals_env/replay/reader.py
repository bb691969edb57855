"""Reads recorded games of people from files, validates them and plays them again turn by turn.

Three forms are read: ``.gior`` (the compressed form of the live game), JSON with named fields (``.gioreplay`` and others), and
JSON lists in the order of the format; each also gzipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.arguments import as_config
from generals_env.collector import Collector, Transition
from generals_env.config import RewardConfig
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
from generals_env.engine.observations.reference import visible_to
from generals_env.engine.rules import turn as rules
from generals_env.engine.simulation.single_game import AFTER, BEFORE, replay_turn
from generals_env.errors import ReplayError
from generals_env.replay.fields import is_missing, listed, named, records, text, whole, wholes
from generals_env.replay.file_text import parse, unzipped
from generals_env.replay.lz_string import MAX_CHARACTERS

__all__ = ["Replay", "ReplayTurn", "from_dict", "read"]

MAX_BYTES = 64 * 2**20  # of a file, before and after decompression of gzip
MAX_SIDE = 128
MAX_TURN = 60_000  # the live game ends at 50,000 (rule 27)
MAX_ARMY = 10**6

CITY_STATE, WATCHTOWER = 1 << 1, 1 << 6
#: Modifiers that replays may have; city state and watchtower change neither moves nor armies in a replay.
PLAYABLE = LEAPFROG | DEFENSELESS | TORUS | SLIPPERY | CITY_STATE | WATCHTOWER

#: Fields that list tiles of one kind: name of the field, owner and terrain of the tiles.
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
        hidden: Tiles and modifiers for which visibility is not supported; empty if there are none.
    """

    turn: int
    owner: npt.NDArray[np.int8]
    army: npt.NDArray[np.int32]
    alive: npt.NDArray[np.bool_]
    boards: Boards
    hidden: str

    def visible(self, player: int) -> npt.NDArray[np.bool_]:
        """Return (H, W) bool: the tiles that ``player`` sees.

        Raises:
            ReplayError: If the player does not exist, or the game has tiles or modifiers with unsupported visibility.
        """
        if self.hidden:
            raise ReplayError(f"visible: expected a game with ordinary sight, got {self.hidden}: use owner and army")
        if not 0 <= player < self.alive.shape[0]:
            raise ReplayError(f"player: expected an index from 0 to {self.alive.shape[0] - 1}, got {player!r}")
        bits = np.empty(self.owner.size, np.uint32)
        visible_to(self.boards, 0, bits)
        return ((bits >> np.uint32(player)) & 1).astype(np.bool_).reshape(self.owner.shape)


@dataclass(frozen=True)
class Replay:
    """A recorded game.

    Attributes:
        id: Id in the file, may be empty.
        version: Version of the format, which determines the order of moves.
        players: Number of players.
        height: Rows.
        width: Columns.
        start: The board at turn 0 (one board).
        moves: (M, 5) int32: player, start, end, half, turn; in file order.
        events: (E, 2) int32: player and turn of each surrender or time-out; in file order.
        hidden: Tiles and modifiers for which visibility is not supported; empty if there are none.
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
        """Turn at which playing stops at the latest: three after the last recorded turn."""
        last = -1
        for recorded in (self.moves[:, 4], self.events[:, 1]):
            if len(recorded):
                last = max(last, int(recorded.max()))
        return last + 3

    def play(self) -> Iterator[ReplayTurn]:
        """Yield the game at each turn, from turn 0 to the end."""
        yield self._turn(self.start)
        for transition in self._transitions(RewardConfig()):
            yield self._turn(copy_boards(transition.boards, slice(AFTER, AFTER + 1)))

    def collect(self, collector: Collector, reward: RewardConfig | None = None) -> None:
        """Play the game and notify ``collector`` of each turn, as an environment does.

        A player whose game has not ended at the end of the recording is truncated there.

        Args:
            collector: Object that receives each turn.
            reward: Weights of the reward, a ``RewardConfig`` or a mapping of its fields; None for the default weights.

        Raises:
            ReplayError: If the game has tiles or modifiers with unsupported visibility.
        """
        self.require_sight()
        for transition in self._transitions(as_config("reward", RewardConfig, reward, RewardConfig())):
            collector.on_state_transition(transition)
        collector.on_game_end()

    def require_sight(self) -> None:
        """Raise ``ReplayError`` if the game has tiles or modifiers with unsupported visibility."""
        if self.hidden:
            raise ReplayError(f"replay {self.id!r}: expected a game with ordinary sight, got {self.hidden}: skip it")

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
        """Yield each turn; the arrays are reused."""
        boards = copy_boards(self.start, np.array([0, 0]))
        players = self.players
        active = boards.players["alive"][AFTER].copy()
        actions = np.zeros(players, np.int64)
        terminated = np.zeros(players, np.bool_)
        rewards = np.zeros(players, np.float32)
        heads = np.zeros(players, np.int32)
        illegal = np.zeros(players, np.bool_)
        weights = reward.weights()
        # Queues are first in, first out in file order, even if the turns in the file are not sorted.
        queued_by = np.maximum.accumulate(self.moves[:, 4]) if len(self.moves) else self.moves[:, 4]
        last, next_event, changed = self.last_turn, 0, False
        # A game without living players continues (rule 28).
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
    """Read a replay from a file: ``.gior``, or JSON with named or positional fields; gzipped or not.

    Raises:
        ReplayError: If the file cannot be read, is damaged, or needs rules that are not supported.
    """
    try:
        path = Path(path)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, TypeError, ValueError) as error:  # a null byte is a ValueError
        raise ReplayError(f"path: expected a readable file, got {str(path)!r} ({error}): check path and permissions") from error
    try:
        return from_dict(parse(unzipped(data, MAX_BYTES), MAX_CHARACTERS))
    except ReplayError as error:
        raise ReplayError(f"{path.name}: {error}") from error


def from_dict(fields: Mapping[str, Any] | Sequence[Any]) -> Replay:
    """Return the replay that is described by named fields, or by a list in the order of the format.

    Rows of tables are accepted, too: numpy scalars, arrays and tuples instead of numbers and lists, and NaN for a missing
    optional field. The fields ``version``, ``mapWidth``, ``mapHeight``, ``cities``, ``cityArmies``, ``generals``, ``mountains``
    and ``moves`` are required; other missing fields are empty, and unknown fields are ignored.

    Raises:
        ReplayError: If a field is missing or invalid, or the game needs rules that are not supported.
    """
    fields = named(fields)
    version = whole("version", fields["version"], 1, LIVE_VERSION)
    width = whole("mapWidth", fields["mapWidth"], 1, MAX_SIDE)
    height = whole("mapHeight", fields["mapHeight"], 1, MAX_SIDE)
    for name in ("tunnels", "strongholds"):
        if count := len(listed(name, fields)):
            raise ReplayError(f"{name}: expected none (not built), got {count}: skip this replay")
    modifiers = 0
    for number in wholes("modifiers", fields, 0, 14).tolist():
        modifiers |= 1 << number
    if modifiers & ~PLAYABLE:
        refused = [number for number in range(15) if modifiers & ~PLAYABLE & 1 << number]
        raise ReplayError(
            f"modifiers: expected some of 0, 1, 5, 6, 7, 10 (others are not built), got {refused}: skip this replay"
        )
    start = starting_board(fields, version, height, width, modifiers)
    players = start.players.shape[1]
    tiles = height * width
    moves = records("moves", fields, {"index": players, "start": tiles, "end": tiles, "is50": 2, "turn": MAX_TURN}, "is50")
    events = records("afks", fields, {"index": players, "turn": MAX_TURN})
    hidden = ", ".join(name for name in ("lookouts", "observatories", "lights") if listed(name, fields))
    if modifiers & WATCHTOWER:
        hidden = ", ".join(filter(None, (hidden, "modifier 6 (watchtower)")))
    return Replay(text("id", fields), version, players, height, width, start, moves, events, hidden)


def starting_board(fields: Mapping[str, Any], version: int, height: int, width: int, modifiers: int) -> Boards:
    """Return the board at turn 0 (one board)."""
    last = height * width - 1
    generals = listed("generals", fields)
    if not 1 <= len(generals) <= MAX_PLAYERS:
        raise ReplayError(f"generals: expected 1 to {MAX_PLAYERS}, got {len(generals)}")
    boards = empty_boards(1, height, width, len(generals), version, modifiers)
    boards.owner[:] = NEUTRAL
    boards.terrain[:] = PLAIN
    for name, owner, terrain in KINDS:
        tiles = wholes(name, fields, 0, last)
        boards.owner[0, tiles] = owner
        boards.terrain[0, tiles] = terrain
    for name, armies in (("cities", "cityArmies"), ("neutrals", "neutralArmies")):
        count, sizes = len(listed(name, fields)), len(listed(armies, fields))
        if count != sizes:
            raise ReplayError(f"{armies}: expected {count}, one for each of {name}, got {sizes}")
        tiles = wholes(name, fields, 0, last)
        boards.army[0, tiles] = wholes(armies, fields, -MAX_ARMY, MAX_ARMY)
        boards.owner[0, tiles] = NEUTRAL
        if name == "cities":
            boards.terrain[0, tiles] = CITY
    for player, position in enumerate(generals):
        if is_missing(position):  # never spawned
            boards.players[0, player]["alive"] = False
            continue
        tile = whole("generals", position, 0, last)
        if boards.owner[0, tile] >= 0:
            raise ReplayError(f"generals: expected different tiles, got {tile} twice")
        boards.players[0, player]["general"] = tile
        boards.owner[0, tile] = player
        boards.army[0, tile] = 1
        boards.terrain[0, tile] = GENERAL
    teams = wholes("teams", fields, 0, 127)
    if len(teams):
        if len(teams) != len(generals):
            raise ReplayError(f"teams: expected one for each of {len(generals)} players, got {len(teams)}")
        boards.players["team"][0] = teams
    return boards
