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
from generals_env.engine.packed.packing import trimmed
from generals_env.engine.packed.recording import BOARDS, EXPERIENCES, GROUNDS, WIDE, empty_recording
from generals_env.engine.rules import turn as rules
from generals_env.engine.simulation.recorded_moves import record_moves
from generals_env.engine.simulation.single_game import AFTER, BEFORE, replay_turn
from generals_env.errors import ReplayError
from generals_env.replay.fields import is_missing, listed, named, plain, raw_fields, records, text, whole, wholes
from generals_env.replay.file_text import parse, unzipped
from generals_env.replay.lz_string import MAX_CHARACTERS
from generals_env.replay.recorded_game import RecordedGame
from generals_env.replay.recorded_turns import check_size, game_of_turns

__all__ = ["MAX_BYTES", "Replay", "ReplayTurn", "from_bytes", "from_dict", "read", "read_file"]

MAX_BYTES = 64 * 2**20  # of a file, before and after decompression of gzip
MAX_SIDE = 128
MAX_TURN = 60_000  # the live game ends at 50,000 (rule 27)
MAX_ARMY = 10**6

#: Positions of fields.
USERNAMES, STARS, MOVES, AFKS = 4, 5, 10, 11

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
        raw: All fields as they were read, except moves and events, by their position in the format.
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
    raw: Mapping[int, Any] = field(default_factory=dict, repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the players, text of other people; ``player_0`` and so on where the file has none."""
        given = plain(self.raw.get(USERNAMES))
        if isinstance(given, list) and len(given) == self.players and all(isinstance(name, str) for name in given):
            return tuple(given)
        return tuple(f"player_{player}" for player in range(self.players))

    @property
    def stars(self) -> tuple[float, ...]:
        """Ranks of the players in stars; empty where the file has none."""
        given = plain(self.raw.get(STARS))
        if isinstance(given, list) and len(given) == self.players and all(type(star) in (int, float) for star in given):
            return tuple(map(float, given))
        return ()

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

    def recorded(self, reward: RewardConfig | None = None) -> RecordedGame:
        """Play the game in one call and return its boards, actions, events and rewards.

        Args:
            reward: Weights of the reward, a ``RewardConfig`` or a mapping of its fields; None for the default weights.

        Raises:
            ReplayError: If the game is too long to hold all its boards, or has no player.
        """
        weights = as_config("reward", RewardConfig, reward, RewardConfig()).weights()
        tiles, players = self.height * self.width, self.players
        check_size(self.last_turn, tiles)
        boards = copy_boards(self.start, np.array([0, 0]))
        queued_by = np.maximum.accumulate(self.moves[:, 4]) if len(self.moves) else self.moves[:, 4].copy()
        room = self.last_turn + len(self.events) + 2
        recording = empty_recording(1, tiles, players, room, room * players, 1)
        heads, used, active = np.zeros(players, np.int32), np.zeros(2, np.int64), boards.players["alive"][AFTER].copy()
        record_moves(boards, self.moves, queued_by, self.events, self.last_turn, weights, heads, used, active, recording, 0)
        counts = recording.counts
        packed = trimmed(recording.packed, int(counts[BOARDS]), int(counts[GROUNDS]), int(counts[WIDE]))
        details = {"source": "replay"}
        if self.stars:
            details["stars"] = ", ".join(f"{star:g}" for star in self.stars)
        return game_of_turns(recording.experiences[: counts[EXPERIENCES]], packed, self.id, self.names, details, self.start)

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
    path, data = read_file(path)
    try:
        return from_bytes(data)
    except ReplayError as error:
        raise ReplayError(f"{path.name}: {error}") from error


def read_file(path: str | Path) -> tuple[Path, bytes]:
    """Return the path and the content of a file, or its beginning if it is longer than a replay can be.

    Raises:
        ReplayError: If the file cannot be read.
    """
    try:
        path = Path(path)
        with path.open("rb") as file:
            return path, file.read(MAX_BYTES + 1)
    except (OSError, TypeError, ValueError) as error:  # a null byte is a ValueError
        raise ReplayError(f"path: expected a readable file, got {str(path)!r} ({error}): check path and permissions") from error


def from_bytes(data: bytes) -> Replay:
    """Return the replay in the content of a file, as ``read`` takes it.

    Raises:
        ReplayError: If the content is damaged, or the game needs rules that are not supported.
    """
    return from_dict(parse(unzipped(data, MAX_BYTES), MAX_CHARACTERS))


def from_dict(fields: Mapping[str, Any] | Sequence[Any]) -> Replay:
    """Return the replay that is described by named fields, or by a list in the order of the format.

    Rows of tables are accepted, too: numpy scalars, arrays and tuples instead of numbers and lists, and NaN for a missing
    optional field. The fields ``version``, ``mapWidth``, ``mapHeight``, ``cities``, ``cityArmies``, ``generals``, ``mountains``
    and ``moves`` are required; other missing fields are empty, and unknown fields are ignored.

    Raises:
        ReplayError: If a field is missing or invalid, or the game needs rules that are not supported.
    """
    raw = raw_fields(fields)
    positional = set(raw) == set(range(len(raw)))
    fields = named(raw, f"a list of {len(raw)} fields" if positional else "none of that name")
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
    kept = {position: value for position, value in raw.items() if position not in (MOVES, AFKS)}
    return Replay(text("id", fields), version, players, height, width, start, moves, events, hidden, kept)


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
