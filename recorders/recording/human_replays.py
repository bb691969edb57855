"""Recorded games of people as experience: read and played on all cores, handed to a sink in the order of the files."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from generals_env import replay
from generals_env.arguments import as_config
from generals_env.concurrency.threads import available_cores
from generals_env.config import RewardConfig
from generals_env.engine.boards import copy_boards
from generals_env.engine.packed.packing import PackedBoards, first_rows, trimmed
from generals_env.engine.packed.recording import BOARDS, EXPERIENCE, EXPERIENCES, GROUNDS, WIDE, empty_recording
from generals_env.engine.simulation.recorded_moves import record_moves
from generals_env.engine.simulation.single_game import AFTER
from generals_env.errors import ConfigError, ReplayError
from generals_env.pickling import pickled_as
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.sink import AnySink, Sink
from generals_env.recorders.sinks.multi import open_sink

__all__ = ["RecordedReplays", "record_replays"]

#: Boards and experiences of a batch: a game that has no more is one batch, written whole or not at all.
BATCH_BYTES = 16 * 2**20

#: Games that wait for their turn at most, and bytes of those that are played at which no others are begun. A sink that writes
#: a large file every few hundred games is to keep the other cores waiting as little as may be.
MAX_AHEAD = 128
AHEAD_BYTES = 32 * 2**20


@pickled_as("generals_env.recorders")
@dataclass
class RecordedReplays:
    """What became of the replays.

    Attributes:
        games: How many were recorded.
        experiences: How many experiences that gave.
        skipped: Why others were not, by path.
    """

    games: int = 0
    experiences: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


class Piece(NamedTuple):
    """What a batch is made of: experiences of one game, and their boards."""

    rows: npt.NDArray[np.void]
    boards: PackedBoards


class Played(NamedTuple):
    """A replay that was read.

    Attributes:
        game: The replay.
        pieces: Its experience: played already, or played as it is taken if that is more than one batch.
    """

    game: replay.Replay
    pieces: Iterable[Piece]

    @property
    def nbytes(self) -> int:
        """Bytes of what was played."""
        if not isinstance(self.pieces, list):
            return 0
        return sum(piece.rows.nbytes + sum(array.nbytes for array in piece.boards) for piece in self.pieces)


def record_replays(
    paths: str | Path | Iterable[str | Path],
    sink: AnySink,
    reward: RewardConfig | None = None,
    on_error: str = "raise",
) -> RecordedReplays:
    """Play replays and record every player's experience.

    Actions are the moves that were made, a pass where there was none. Games are called by the id in the
    file, or by its name, with a number behind it if there was one of that name; ``collected_at`` is when the recording of the
    game began, as files do not tell when it was played. They come in the order of the files, a batch each: what is interrupted
    has recorded a game whole or not at all (but games of more than 16 MiB, of tens of thousands of turns, come in parts).

    Args:
        paths: Files as ``generals_env.replay.read`` takes them, or one such file.
        sink: A folder or URL, an object with ``write``, ``flush`` and ``close``, or several of these; closed at the end. It
            is called from this thread only.
        reward: Weights of the reward, a ``RewardConfig`` or a mapping of its fields; the default ones without.
        on_error: ``"raise"`` stops at the first replay that cannot be recorded, ``"skip"`` reports it.

    Raises:
        ConfigError: If ``on_error`` is neither, or ``sink`` is no sink.
        ReplayError: If a replay cannot be recorded (with ``"raise"``); those before it have been.
        StorageError: If the sink cannot be written.
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error: expected 'raise' or 'skip', got {on_error!r}")
    if isinstance(paths, (str, Path)):
        paths = [paths]
    weights = as_config("reward", RewardConfig, reward, RewardConfig()).weights()
    with closing(open_sink(sink)) as opened, Ahead(weights) as ahead:
        recorder = ReplayRecorder(opened, on_error == "skip")
        for path in paths:
            # Threads without work wait for paths or for the sink: then what they played is not to wait, too.
            if ahead.idle:
                recorder.record(ahead)
            while ahead.full:
                recorder.record(ahead)
            ahead.submit(path)
        while len(ahead):
            recorder.record(ahead)
    return recorder.result


class Ahead:
    """Replays that other threads read and play before their turn."""

    def __init__(self, weights: npt.NDArray[np.float64]) -> None:
        """Play with these weights of the reward."""
        self._weights = weights
        self._pool = ThreadPoolExecutor(available_cores(), thread_name_prefix="generals_env")
        self._waiting: deque[tuple[str | Path, Future[Played]]] = deque()
        self._submitted = 0
        self._changed = threading.Condition()  # of what follows
        self._wanted = -1  # number of the last one that was taken, or is waited for
        self._bytes = 0  # of what is played and not taken

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Wait for games that are being played; begin no others."""
        self._want(sys.maxsize)
        self._pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether all are played."""
        return bool(self._waiting) and self._waiting[-1][1].done()

    @property
    def full(self) -> bool:
        """Whether there are as many as may be."""
        return len(self) >= MAX_AHEAD

    def submit(self, path: str | Path) -> None:
        """Begin with another one, or let it wait for its turn."""
        self._waiting.append((path, self._pool.submit(self._play, self._submitted, path, time.time_ns())))
        self._submitted += 1

    def take(self) -> tuple[str | Path, Future[Played]]:
        """Wait for the one in front and return it."""
        self._want(self._submitted - len(self))
        path, played = self._waiting.popleft()
        if played.exception() is None:
            self._add(-played.result().nbytes)
        return path, played

    def _play(self, number: int, path: str | Path, now: int) -> Played:
        with self._changed:
            self._changed.wait_for(lambda: self._bytes <= AHEAD_BYTES or number <= self._wanted)
        played = play_file(path, self._weights, now)
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


def play_file(path: str | Path, weights: npt.NDArray[np.float64], now: int) -> Played:
    """Read a replay and play it, unless it is too long to be kept; see ``pieces_of``.

    Raises:
        ReplayError: If it cannot be recorded.
    """
    game = replay.read(path)
    game.require_sight()
    pieces = pieces_of(game, weights, now)
    return Played(game, list(pieces) if boards_needed(game) <= boards_of_a_batch(game) else pieces)


def boards_needed(game: replay.Replay) -> int:
    """Return how many boards a game has at most: one a turn, and one for each time that players leave between two."""
    return game.last_turn + len(game.events) + 2


def boards_of_a_batch(game: replay.Replay) -> int:
    """Return how many of a game's boards a batch has at most."""
    size = 2 * game.height * game.width + game.players * EXPERIENCE.itemsize
    return max(BATCH_BYTES // size, 16)


def pieces_of(game: replay.Replay, weights: npt.NDArray[np.float64], now: int) -> Iterator[Piece]:
    """Play a game and yield its experience, numbered from 0 in each piece.

    Args:
        game: The replay.
        weights: (11,) float64, of the reward.
        now: Nanoseconds UTC, of all its experiences.
    """
    tiles, players = game.height * game.width, game.players
    boards = copy_boards(game.start, np.array([0, 0]))
    queued_by = np.maximum.accumulate(game.moves[:, 4])  # queues are first in, first out in file order
    heads, used, active = np.zeros(players, np.int32), np.zeros(2, np.int64), boards.players["alive"][AFTER].copy()
    room = min(boards_needed(game), boards_of_a_batch(game))
    ended = False
    while not ended:
        recording = empty_recording(1, tiles, players, room, room * players, 1)
        ended = record_moves(
            boards, game.moves, queued_by, game.events, game.last_turn, weights, heads, used, active, recording, now
        )
        counts = recording.counts
        if counts[EXPERIENCES]:
            packed = trimmed(recording.packed, int(counts[BOARDS]), int(counts[GROUNDS]), int(counts[WIDE]))
            yield Piece(first_rows(recording.experiences, int(counts[EXPERIENCES])), packed)


class ReplayRecorder:
    """Writes played games into a sink, one after another."""

    def __init__(self, sink: Sink, skips: bool) -> None:
        """Write into ``sink``; a replay that cannot be recorded is reported if ``skips``, else it is an error."""
        self.sink = sink
        self.skips = skips
        self.result = RecordedReplays()
        self._metadata = {"run": uuid.uuid4().hex[:12]}
        self._times: dict[str, int] = {}  # how often each name was asked for

    def record(self, ahead: Ahead) -> None:
        """Wait for the game in front and write it.

        Raises:
            ReplayError: If it cannot be recorded, and is not to be skipped.
        """
        path, played = ahead.take()
        try:
            game, pieces = played.result()
        except ReplayError as error:
            if not self.skips:
                raise
            self.result.skipped[str(path)] = str(error)
            return
        names = (self._new_name(game.id or Path(path).name),)
        for rows, boards in pieces:
            count = len(rows)
            rows["sequence"] = np.arange(self.result.experiences, self.result.experiences + count)
            self.sink.write(ExperienceBatch(names, rows, boards, (game.height, game.width), metadata=self._metadata))
            self.result.experiences += count
        self.result.games += 1

    def _new_name(self, name: str) -> str:
        """Return ``name`` if no game was called so, else with a number behind it."""
        new = name
        while new in self._times:
            self._times[name] += 1
            new = f"{name}-{self._times[name]}"
        self._times[new] = 1
        return new
