"""Records replays of human games: reads and plays them on all cores, and writes them to a sink in the order of the files.

What a file tells about a game beside its turns is kept in the metadata of its batch, in the entry ``games`` by the id of the
game: see ``facts_of``.
"""

from __future__ import annotations

import re
import sys
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from generals_env import replay
from generals_env.arguments import as_config
from generals_env.concurrency.thread_pool import available_cores
from generals_env.config import RewardConfig
from generals_env.engine.boards import copy_boards
from generals_env.engine.packed.packing import PackedBoards, first_rows, trimmed
from generals_env.engine.packed.recording import BOARDS, EXPERIENCE, EXPERIENCES, GROUNDS, WIDE, empty_recording
from generals_env.engine.simulation.recorded_moves import record_moves
from generals_env.engine.simulation.single_game import AFTER
from generals_env.errors import ConfigError, ReplayError
from generals_env.pickling import pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.collate import GAMES
from generals_env.recorders.experience.sink import AnySink, Sink
from generals_env.recorders.people.replay_sources import ReplaySource, file_source
from generals_env.recorders.sinks.multi import open_sink

__all__ = ["RecordedReplays", "reason_of", "record_replays", "record_sources"]

#: Bytes of boards and experiences of a batch: a game of no more bytes is one batch, written whole or not at all.
BATCH_BYTES = 16 * 2**20

#: Maximum number of replays that are queued, and bytes of played replays at which no others are begun. The cores keep playing
#: while a sink writes a large file every few hundred games.
MAX_AHEAD = 128
AHEAD_BYTES = 32 * 2**20


@pickled_as("generals_env.recorders")
@dataclass
class RecordedReplays:
    """How many replays were recorded, and which were skipped.

    Attributes:
        games: Replays that were recorded.
        experiences: Experiences in them.
        skipped: Why replays were not recorded, by path.
    """

    games: int = 0
    experiences: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def reasons(self) -> dict[str, int]:
        """Return how many replays were skipped for each reason, the most frequent first; numbers in reasons become N."""
        counts = Counter(reason_of(why) for why in self.skipped.values())
        return dict(counts.most_common())


def reason_of(why: str) -> str:
    """Return what an error expected, without the file, what it got and numbers, so that errors of one kind are equal."""
    text = why[max(why.find("expected"), 0) :]
    name = why[: len(why) - len(text)].rstrip(": ").rpartition(": ")[2]
    place = f"{name}: " if name.isidentifier() else ""
    return re.sub(r"\d+", "N", place + re.split(r", got |: (?:skip|download|check|pass|use)", text)[0])


class GamePart(NamedTuple):
    """Experiences of one game for one batch, and their boards."""

    rows: npt.NDArray[np.void]
    boards: PackedBoards


class Played(NamedTuple):
    """A replay that was read.

    Attributes:
        game: The replay.
        parts: Its experience: a list if it was played already, an iterator that plays it if it is more than one batch.
    """

    game: replay.Replay
    parts: Iterable[GamePart]

    @property
    def nbytes(self) -> int:
        """Bytes of the parts that were played already."""
        if not isinstance(self.parts, list):
            return 0
        return sum(part.rows.nbytes + sum(array.nbytes for array in part.boards) for part in self.parts)


def record_replays(
    paths: str | Path | Iterable[str | Path],
    sink: AnySink,
    reward: RewardConfig | None = None,
    on_error: str = "raise",
) -> RecordedReplays:
    """Play replays and record every player's experience.

    Actions are the moves that were made, a pass where there was none. The id of a game is the one in the file, or the file's
    name, with a number appended if it occurs again; ``collected_at`` is when the recording of the game began, as files do not
    tell when it was played. Games are written in the order of the files, a batch each: after an interrupt each game is there
    whole or not at all (but games of more than 16 MiB, of tens of thousands of turns, are several batches).

    Args:
        paths: Files as ``generals_env.replay.read`` takes them, or one such file.
        sink: A folder or URL, an object with ``write``, ``flush`` and ``close``, or several of these; closed at the end. It
            is called from the calling thread only.
        reward: Weights of the reward, a ``RewardConfig`` or a mapping of its fields; the default ones without.
        on_error: ``"raise"`` stops at the first replay that cannot be recorded, ``"skip"`` reports it in the result.

    Raises:
        ConfigError: If ``on_error`` is neither, ``sink`` is no sink, or ``reward`` is wrong.
        ReplayError: If a replay cannot be recorded (with ``"raise"``); those before it are recorded.
        StorageError: If the sink cannot be written.
    """
    if isinstance(paths, (str, Path)):
        paths = [paths]
    return record_sources(map(file_source, paths), sink, reward, on_error)


def record_sources(
    sources: Iterable[ReplaySource],
    sink: AnySink,
    reward: RewardConfig | None = None,
    on_error: str = "raise",
    on_game: Callable[[RecordedReplays], object] | None = None,
) -> RecordedReplays:
    """Play replays from any source and record every player's experience; see ``record_replays``.

    Args:
        sources: The replays, as ``replay_sources`` finds them.
        sink: As of ``record_replays``.
        reward: Likewise.
        on_error: Likewise.
        on_game: Called after each replay with what is recorded so far.

    Raises:
        ConfigError: As ``record_replays``.
        ReplayError: Likewise.
        StorageError: Likewise.
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error: expected 'raise' or 'skip', got {on_error!r}")
    weights = as_config("reward", RewardConfig, reward, RewardConfig()).weights()
    with closing(open_sink(sink)) as opened, ReplayQueue(weights) as queue:
        recorder = ReplayRecorder(opened, on_error == "skip", on_game)
        for source in sources:
            # When all replays are played, threads wait for sources: write what they played before the next one is asked for.
            if queue.idle:
                recorder.record(queue)
            while queue.full:
                recorder.record(queue)
            queue.submit(source)
        while len(queue):
            recorder.record(queue)
    return recorder.result


class ReplayQueue:
    """Queue of replays that threads read and play ahead of the sink."""

    def __init__(self, weights: npt.NDArray[np.float64]) -> None:
        """Play with these weights of the reward."""
        self._weights = weights
        self._pool = ThreadPoolExecutor(available_cores(), thread_name_prefix="generals_env")
        self._waiting: deque[tuple[ReplaySource, Future[Played]]] = deque()
        self._submitted = 0
        self._held = 0  # bytes of the sources in the queue
        self._changed = threading.Condition()  # of what follows
        self._wanted = -1  # number of the newest replay that was taken, or is waited for
        self._bytes = 0  # of replays that are played and not taken

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Wait for replays that are being played, and begin no others."""
        self._want(sys.maxsize)
        self._pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        """Return how many replays are in the queue."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether all of them are played."""
        return bool(self._waiting) and self._waiting[-1][1].done()

    @property
    def full(self) -> bool:
        """Whether the limit ``MAX_AHEAD`` is reached, or that of the bytes of sources."""
        return len(self) >= MAX_AHEAD or (self._held > AHEAD_BYTES and len(self) > 0)

    def submit(self, source: ReplaySource) -> None:
        """Append a replay; a thread reads and plays it when one is free."""
        self._waiting.append((source, self._pool.submit(self._play, self._submitted, source, time.time_ns())))
        self._submitted += 1
        self._held += source.nbytes

    def take(self) -> tuple[ReplaySource, Future[Played]]:
        """Wait until the first replay is played, and take it out."""
        self._want(self._submitted - len(self))
        source, played = self._waiting.popleft()
        self._held -= source.nbytes
        if played.exception() is None:
            self._add(-played.result().nbytes)
        return source, played

    def _play(self, number: int, source: ReplaySource, now: int) -> Played:
        with self._changed:
            self._changed.wait_for(lambda: self._bytes <= AHEAD_BYTES or number <= self._wanted)
        played = play_source(source, self._weights, now)
        self._add(played.nbytes)
        return played

    def _want(self, number: int) -> None:
        with self._changed:
            self._wanted = number
            self._changed.notify_all()

    def _add(self, size: int) -> None:
        with self._changed:
            self._bytes += size
            self._changed.notify_all()


def play_source(source: ReplaySource, weights: npt.NDArray[np.float64], now: int) -> Played:
    """Read a replay, and play it unless it is longer than a batch; see ``play_parts``.

    Raises:
        ReplayError: If it cannot be recorded.
    """
    game = source.read()
    game.require_sight()
    parts = play_parts(game, weights, now)
    return Played(game, list(parts) if max_boards(game) <= max_batch_boards(game) else parts)


def max_boards(game: replay.Replay) -> int:
    """Return an upper bound of a game's boards: one a turn, and one for each time that players leave between two turns."""
    return game.last_turn + len(game.events) + 2


def max_batch_boards(game: replay.Replay) -> int:
    """Return the maximum number of a game's boards in a batch."""
    size = 2 * game.height * game.width + game.players * EXPERIENCE.itemsize
    return max(BATCH_BYTES // size, 16)


def play_parts(game: replay.Replay, weights: npt.NDArray[np.float64], now: int) -> Iterator[GamePart]:
    """Play a game and yield its experience, a batch at a time.

    Args:
        game: The replay.
        weights: (11,) float64, of the reward.
        now: Nanoseconds UTC, of all its experiences.
    """
    tiles, players = game.height * game.width, game.players
    boards = copy_boards(game.start, np.array([0, 0]))
    queued_by = np.maximum.accumulate(game.moves[:, 4])  # queues are first in, first out in file order
    heads, used, active = np.zeros(players, np.int32), np.zeros(2, np.int64), boards.players["alive"][AFTER].copy()
    room = min(max_boards(game), max_batch_boards(game))
    ended = False
    while not ended:
        recording = empty_recording(1, tiles, players, room, room * players, 1)
        ended = record_moves(
            boards, game.moves, queued_by, game.events, game.last_turn, weights, heads, used, active, recording, now
        )
        counts = recording.counts
        if counts[EXPERIENCES]:
            packed = trimmed(recording.packed, int(counts[BOARDS]), int(counts[GROUNDS]), int(counts[WIDE]))
            yield GamePart(first_rows(recording.experiences, int(counts[EXPERIENCES])), packed)


def facts_of(game: replay.Replay, place: str, boards: PackedBoards) -> dict[str, Any]:
    """Return what is known about a game beside its turns, as JSON values.

    Keys: ``source``, the file; ``version`` of the replay; ``stars``, the ranks of the players, if known; ``teams`` if players
    have team-mates; ``turns`` played; ``winners``, the living players at the end if only one team lives, else none. Names of
    people and chat are left out.
    """
    last = boards.players[boards.entries["ground"][-1]]
    alive, teams = np.flatnonzero(last["alive"]).tolist(), last["team"].tolist()
    facts: dict[str, Any] = {"source": place, "version": game.version, "turns": int(boards.entries["turn"][-1])}
    if game.stars:
        facts["stars"] = list(game.stars)
    if len(set(teams)) < len(teams):
        facts["teams"] = teams
    facts["winners"] = alive if len({teams[player] for player in alive}) == 1 else []
    return facts


class ReplayRecorder:
    """Writes played replays to a sink, one after another."""

    def __init__(self, sink: Sink, skips: bool, on_game: Callable[[RecordedReplays], object] | None = None) -> None:
        """Write to ``sink``; a replay that cannot be recorded is reported in ``result`` if ``skips``, else an error."""
        self._on_game = on_game
        self.sink = sink
        self.skips = skips
        self.result = RecordedReplays()
        self._metadata = {"run": uuid.uuid4().hex[:12]}
        self._times: dict[str, int] = {}  # how often each name occurred

    def record(self, queue: ReplayQueue) -> None:
        """Wait for the first replay of the queue, and write it.

        Raises:
            ReplayError: If it cannot be recorded, and is not to be skipped.
        """
        source, played = queue.take()
        try:
            game, parts = played.result()
        except ReplayError as error:
            if not self.skips:
                raise
            self.result.skipped[source.name] = str(error)
            self._report()
            return
        name = self._new_name(game.id or source.title)
        for rows, boards in parts:
            count = len(rows)
            rows["sequence"] = np.arange(self.result.experiences, self.result.experiences + count)
            about = {**self._metadata, GAMES: {name: facts_of(game, source.name, boards)}}
            self.sink.write(ExperienceBatch((name,), rows, boards, (game.height, game.width), metadata=about))
            self.result.experiences += count
        self.result.games += 1
        self._report()

    def _report(self) -> None:
        if self._on_game is not None:
            self._on_game(self.result)

    def _new_name(self, name: str) -> str:
        """Return ``name`` if no game has it, else with a number appended."""
        new = name
        while new in self._times:
            self._times[name] += 1
            new = f"{name}-{self._times[name]}"
        self._times[new] = 1
        return new
