"""From turns as they are played to batches in a sink: for one game or many at once."""

from __future__ import annotations

import logging
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.interrupts import deferred, raise_pending
from generals_env.concurrency.process_owner import Owner
from generals_env.engine.boards import Boards
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.gather import gather_rows
from generals_env.engine.packed.packing import first_rows, trimmed
from generals_env.engine.packed.recording import (
    ALL_PLAYERS,
    BOARDS,
    ENDED,
    EXPERIENCES,
    GAMES,
    GROUNDS,
    WIDE,
    Recording,
    begin_games,
    empty_recording,
    flat,
    record_turn,
)
from generals_env.errors import StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.recording.dense_capture import DenseObservationCapture
from generals_env.recorders.sinks.pending_batches import WaitingBatches

__all__ = [
    "MAX_WAITING_BYTES",
    "TurnBatcher",
]

logger = logging.getLogger(__name__)

#: Memory for what a sink refuses.
MAX_WAITING_BYTES = 2**27

PAUSE = 0.1  # seconds between tries while recording waits for a sink that refuses

#: Boards in a batch, for one game: 0.8 MB of them at 20x20.
CHUNK_BOARDS = 1024

#: Turns of each game in a batch, for many games.
CHUNK_TURNS = 8


class GameRange:
    """The recording of games ``low`` to ``high``.

    Attributes:
        low: First game.
        high: First game that is not its own.
        recording: What was written down and has not become a batch yet.
        carried: With how many boards it began.
        target: The arrays of the recording, as ``record_turn`` takes them.
    """

    __slots__ = ("carried", "high", "low", "recording", "target")

    def __init__(self, low: int, high: int, recording: Recording) -> None:
        self.low = low
        self.high = high
        self.recording = recording
        self.carried = 0
        self.target = flat(recording)


def most_references(recording: Recording) -> int:
    """Return how many references there are to that array of a recording which has most of them."""
    return max(sys.getrefcount(array) for array in flat(recording))


#: The same while nobody else has the arrays or views of them.
OWN_REFERENCES = most_references(empty_recording(0, 1, 1, 0, 0, 0))


class TurnBatcher:
    """Writes down what B games bring, and hands it to a sink a batch at a time.

    Games are written down in parts, each into a recording of its own: all in one part as long as turns come one by one, in
    several where threads play and write at once. A part becomes a batch.

    Attributes:
        sink: Where to.
        closed: Whether it takes no more.
        recipe: How observations are made of boards.
        metadata: Goes into every batch; a batch keeps the very dict, so put another one in its place.
        shown: Keeps observations as they were shown, where boards do not tell them; None otherwise.
        dropped: Experiences that the sink never took: given up for newer ones, or left when the journal was closed.
        owner: The process in which turns may be written down; None for any, where everything stays in memory.
    """

    def __init__(
        self,
        sink: Sink,
        games: int = 1,
        run_id: str | None = None,
        seat: int = ALL_PLAYERS,
        recipe: Recipe | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Write for ``sink``.

        Args:
            sink: Where to.
            games: B.
            run_id: Games are called after it, ``<run_id>-000000`` and so on; a random one without.
            seat: Whose experience alone to write down, or ``ALL_PLAYERS``.
            recipe: How observations are made of boards.
            metadata: Goes into every batch.
        """
        self.sink = sink
        self.run_id = run_id or uuid.uuid4().hex[:12]
        self.recipe = recipe or Recipe()
        self.metadata: Mapping[str, Any] = {"run": self.run_id, **(metadata or {})}
        self.shown: DenseObservationCapture | None = None
        self.closed = False
        self.dropped = 0
        self.owner: Owner | None = Owner()
        self.seat = seat
        self._count = games
        self._shape = (0, 0)
        self._sequence = 0  # of the first experience that is in no batch yet
        self._numbered = 0  # games that have an id
        self._ids: list[str | None] = [None] * games  # of games that went on when their recording began
        self._whole = (0, games)
        self._edges: tuple[int, ...] = self._whole  # where parts begin, and B
        self._room = 0  # boards of each game for which a part has room
        self._parts: list[GameRange] = []  # all of them, or none before there is a board
        self._rows = 0  # boards in the only part
        self._full = 0  # with more boards than this the only part has no room for one turn more
        self._unwritten = WaitingBatches(MAX_WAITING_BYTES)
        self._overflow = "raise"
        self._offered = False  # whether the sink was given what waits, since there is the newest batch
        self._refuses = False  # the sink, the last time
        self._spare: list[Recording] = []  # nobody has their arrays any more

    @property
    def experiences(self) -> int:
        """Experiences written down so far."""
        return self._sequence + sum(int(part.recording.counts[EXPERIENCES]) for part in self._parts)

    @property
    def games(self) -> int:
        """Games begun so far."""
        return self._numbered + sum(name is None for part in self._parts for name in self._names(part.recording))

    @property
    def waiting(self) -> int:
        """Experiences that the sink was given, and has refused so far."""
        return self._unwritten.experiences

    def limit(self, max_waiting_bytes: int, overflow: str) -> None:
        """Set how much may wait for a sink that refuses, and what happens then; see ``ExperienceRecorder``."""
        self._unwritten = WaitingBatches(max_waiting_bytes)
        self._overflow = overflow

    def check_process(self) -> None:
        """Raise ``StateError`` in a process that was forked off the one that records."""
        if self.owner is not None:
            self.owner.check("recorder")

    # --- What is written down -------------------------------------------------------------------------------------

    def begin(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Take note of games that begin: those that ``which`` (B,) picks, on these boards."""
        self.leave(which)
        self.resume(boards, which)

    def resume(self, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
        """Take note of the boards with which games ``which`` (B,) go on that were played without being written down."""
        self.check_process()
        part = self._only_part(boards)
        if self._rows - self._count > self._full:  # never in the middle of a step: ``turn`` leaves room for new games
            self.finish()
            part = self._only_part(boards)
        begin_games(part.recording, boards, which)
        self._rows = int(part.recording.counts[BOARDS])

    def leave(self, which: npt.NDArray[np.bool_]) -> None:
        """Take note of games that are left, whether or not they have ended."""
        unknown = which.copy()
        for part in self._parts:
            current, present = (array[part.low : part.high] for array in (part.recording.current, part.recording.present))
            known = which[part.low : part.high] & (current != -1)
            present[known] = -1
            current[known] = ENDED
            unknown[part.low : part.high] &= ~known
        for game in np.flatnonzero(unknown).tolist():
            self._ids[game] = None

    def present(self) -> npt.NDArray[np.bool_]:
        """Return (B,) bool, of which games the present board is known."""
        known = np.zeros(self._count, np.bool_)
        for part in self._parts:
            known[part.low : part.high] = part.recording.present[part.low : part.high] >= 0
        return known

    def interrupt(self) -> None:
        """Take note that boards were changed between two turns: the next turn's board before it is written down anew."""
        for part in self._parts:
            part.recording.present[:] = -1

    def turn(
        self,
        boards: Boards,
        first: int,
        actions: npt.NDArray[np.int64],
        active: npt.NDArray[np.bool_],
        illegal: npt.NDArray[np.bool_],
        rewards: npt.NDArray[np.float32],
        terminated: npt.NDArray[np.bool_],
        truncated: npt.NDArray[np.bool_],
    ) -> None:
        """Write a turn of every game down; arguments as in ``record_turn``. ``write`` is to follow."""
        self.check_process()
        if self._rows > self._full:
            self.finish()
        part = self._parts[0] if self._edges == self._whole and self._parts else self._only_part(boards)
        self._rows = record_turn(
            *part.target,
            *boards,
            first,
            actions,
            active,
            illegal,
            rewards,
            terminated,
            truncated,
            self.seat,
            time.time_ns(),
        )

    def parts(self, boards: Boards, edges: Sequence[int], turns: int) -> list[GameRange]:
        """Return parts of the games, each with a recording with room for turns that kernels write down themselves.

        Args:
            boards: The boards.
            edges: Where parts begin, and B.
            turns: How many turns of each game are written down before ``renew_part``.
        """
        self._arrange(tuple(edges), 2 * turns)  # the boards before and after each turn, if each ends a game
        self._open(boards)
        return self._parts

    def part(self, boards: Boards, low: int, high: int, turns: int) -> GameRange:
        """Return games ``low`` to ``high`` with a recording of their own for so many turns; ``finish_part`` is to follow."""
        self._room = 2 * turns
        game = boards.games[0]
        self._shape = (int(game["height"]), int(game["width"]))
        return self._empty(low, high, boards.owner.shape[1], boards.players.shape[1])

    def fits(self, boards: Boards) -> bool:
        """Return whether boards have the shape and the players of the recording, if there is one."""
        game = boards.games[0]
        return not self._parts or (
            self._shape == (game["height"], game["width"])
            and self._parts[0].recording.packed.players.shape[1] == boards.players.shape[1]
        )

    def _only_part(self, boards: Boards) -> GameRange:
        """Return the part that has all games."""
        if self._edges != self._whole or not self._parts:
            self._arrange(self._whole, CHUNK_TURNS if self._count > 1 else 2)
        self._open(boards)
        return self._parts[0]

    def _arrange(self, edges: tuple[int, ...], room: int) -> None:
        """Let parts begin at ``edges``, with room for that many boards of each game."""
        if (edges, room) != (self._edges, self._room):
            old, self._parts = self._parts, []
            for part in old:
                self.finish_part(part)
            self._edges, self._room = edges, room
            self._carry_all(old)

    def _open(self, boards: Boards) -> None:
        """Make recordings for boards of this shape if there are none."""
        if not self._parts:
            game = boards.games[0]
            self._shape = (int(game["height"]), int(game["width"]))
            tiles, players = boards.owner.shape[1], boards.players.shape[1]
            self._parts = [self._empty(low, high, tiles, players) for low, high in pairwise(self._edges)]
            self._measure()

    def _measure(self) -> None:
        """Find out how much room the only part has."""
        if len(self._parts) == 1:
            recording = self._parts[0].recording
            self._rows = int(recording.counts[BOARDS])
            self._full = len(recording.packed.tiles) - 2 * self._count  # each game may bring two boards a turn

    def _empty(self, low: int, high: int, tiles: int, players: int) -> GameRange:
        """Return a part with an empty recording."""
        room = (high - low) * (self.recipe.frames + self._room)
        if (low, high) == self._whole:
            room = max(CHUNK_BOARDS, room)
        shape, remembers = (room, tiles), self.recipe.memory
        for number, spare in enumerate(self._spare):
            fits = spare.packed.tiles.shape == shape and spare.packed.players.shape[1] == players
            if fits and (len(spare.packed.memory) > 0) == remembers:
                recording = self._spare.pop(number)
                recording.counts[:] = 0
                recording.present[:] = -1
                recording.current[:] = -1
                return GameRange(low, high, recording)
        return GameRange(low, high, empty_recording(self._count, tiles, players, room, room * players, room, remembers))

    # --- What becomes of it ---------------------------------------------------------------------------------------

    def finish(self, goes_on: bool = True) -> None:
        """Make batches of the recordings; unless nothing ``goes_on``, new ones begin with the boards that are present."""
        old, self._parts = self._parts, []
        for part in old:
            self.finish_part(part)
        self._rows = self._full = 0
        if goes_on:
            self._carry_all(old)

    def renew_part(self, number: int) -> None:
        """Make a batch of a part's recording, and go on with the boards that are present in a new one."""
        part = self._parts[number]
        self.finish_part(part)
        self._parts[number] = self._carry([part], part.low, part.high)

    def _carry_all(self, old: Sequence[GameRange]) -> None:
        if any((part.recording.present >= 0).any() for part in old):
            self._parts = [self._carry(old, low, high) for low, high in pairwise(self._edges)]
            self._measure()

    def finish_part(self, part: GameRange) -> None:
        """Make a batch of a part's recording."""
        recording = part.recording
        counts = recording.counts
        if self.recipe.memory:
            recall_rows(recording.packed, self._shape[0], part.carried, int(counts[BOARDS]))
        names = [name or self._new_name() for name in self._names(recording)]
        for place, name in zip(recording.places[: counts[GAMES]].tolist(), names, strict=True):
            self._ids[place] = name
        for place in np.flatnonzero(recording.current == ENDED).tolist():
            self._ids[place] = None
        count = int(counts[EXPERIENCES])
        dense = None if self.shown is None else self.shown.take(count)
        if count:
            rows = first_rows(recording.experiences, count)
            rows["sequence"] = np.arange(self._sequence, self._sequence + count)
            boards = trimmed(recording.packed, int(counts[BOARDS]), int(counts[GROUNDS]), int(counts[WIDE]))
            batch = ExperienceBatch(tuple(names), rows, boards, self._shape, self.recipe, dense, self.metadata)
            self._sequence += count
            if self._refuses:  # it may wait for long, and takes a part of its recording only
                self._unwritten.append(batch.compact())
            else:
                self._unwritten.append(batch, recording)
            self._offered = False

    def _carry(self, olds: Sequence[GameRange], low: int, high: int) -> GameRange:
        """Return a part that begins with the present boards of its games, and those that frames are stacked of."""
        packed = olds[0].recording.packed
        new = self._empty(low, high, packed.tiles.shape[1], packed.players.shape[1])
        to, counts = new.recording, new.recording.counts
        for old in (part.recording for part in olds if part.low < high and low < part.high):
            games = low + np.flatnonzero(old.present[low:high] >= 0)
            reached = old.present[games].astype(np.int64)
            needed = reached
            for _ in range(self.recipe.frames - 1):
                reached = old.packed.entries["previous"][reached]
                reached = reached[reached >= 0]
                needed = np.concatenate([needed, reached])
            needed = np.unique(needed)
            start = int(counts[BOARDS])
            places = np.full(len(old.packed.tiles), -1, np.int32)
            places[needed] = np.arange(start, start + len(needed))
            # Rows are written from 0 on; grounds and wide armies are counted.
            behind = to.packed._replace(
                tiles=to.packed.tiles[start:], entries=to.packed.entries[start:], memory=to.packed.memory[start:]
            )
            grounds = np.full(len(old.packed.games), -1, np.int32)
            gather_rows(old.packed, needed, places, grounds, behind, counts[:2])
            to.present[games] = places[old.present[games]]
            begun = int(counts[GAMES])
            to.current[games] = np.arange(begun, begun + len(games))
            to.places[begun : begun + len(games)] = games
            counts[BOARDS] += len(needed)
            counts[GAMES] += len(games)
        new.carried = int(counts[BOARDS])
        return new

    def _names(self, recording: Recording) -> list[str | None]:
        """Return the ids of the recording's games, None for those that are new."""
        known = list(self._ids)
        names = []
        for place in recording.places[: recording.counts[GAMES]].tolist():
            names.append(known[place])
            known[place] = None  # whatever begins there later is another game
        return names

    def _new_name(self) -> str:
        name = f"{self.run_id}-{self._numbered:06d}"
        self._numbered += 1
        return name

    def require_room(self) -> None:
        """Make sure that what is played next can be kept; to be called before it is played.

        Raises:
            StateError: In a process that was forked off the one that records.
            StorageError: If as much as may waits for a sink that refuses it, and the journal is to raise then.
        """
        if self.closed:
            return
        self.check_process()
        if not self._unwritten.is_full():
            return
        try:
            self.write()
        except OSError as error:
            raise StorageError(
                f"sink: expected it to take the {self.waiting} experiences that wait for it ({self._unwritten.nbytes} bytes), "
                f"got {error}; nothing more is played until it does"
            ) from error

    def write(self) -> None:
        """Hand finished batches to the sink. What it refuses is kept, and given to it again with what comes next.

        Raises:
            StateError: In a process that was forked off the one that records.
            StorageError: If the sink refuses, and the journal is to raise then.
        """
        if not self._unwritten or (self._offered and not self._unwritten.is_full()):
            return
        self.check_process()
        while True:
            try:
                self._hand_over()
            except OSError as error:
                self._note_refusal(error)
                if self._overflow == "raise":
                    raise
            if self._overflow == "drop_oldest":
                while self._unwritten.is_full() and len(self._unwritten) > 1:
                    self.dropped += len(self._unwritten.pop().batch)
                return
            if not self._unwritten.is_full():
                return
            raise_pending()
            time.sleep(PAUSE)

    def _hand_over(self) -> None:
        """Give all batches to the sink, or as many as it takes before it raises."""
        while self._unwritten:
            with deferred():  # else Ctrl-C could come when the sink has taken the batch, which would be given to it again
                self.sink.write(self._unwritten.first.batch)
                recording = self._unwritten.pop().beside
            if recording is not None:
                self._keep(recording)
        self._refuses = False

    def _note_refusal(self, error: OSError) -> None:
        if not self._refuses and self._overflow != "raise":
            logger.warning("%s refuses %d experiences: %s", type(self.sink).__name__, self.waiting, error)
        self._refuses = True
        self._offered = self._overflow != "raise"  # to raise is to tell of every refusal

    def _keep(self, recording: Recording) -> None:
        """Keep a recording to be written to again, if nobody has its arrays: new pages cost as much as what is written."""
        if len(self._spare) < 2 * len(self._edges) and most_references(recording) == OWN_REFERENCES:
            self._spare.append(recording)

    def flush(self) -> None:
        """Write what there is, games that go on included; whatever is to happen else, what the sink raises is raised."""
        self.check_process()
        with deferred():
            self.finish()
        self._hand_over()
        self.sink.flush()

    def close(self) -> None:
        """Write what there is and close the sink; in a process that was forked off the one that records, do neither.

        What the sink refuses once more is lost, and counted in ``dropped``.
        """
        if self.closed:
            return
        with deferred():
            self.closed = True
            if self.owner is not None and not self.owner.is_here:
                return
            try:
                self.finish(goes_on=False)
                self._hand_over()
            except BaseException as error:
                if lost := self._unwritten.clear():
                    self.dropped += lost
                    error.add_note(f"{lost} experiences were not taken, and are lost.")
                raise
            finally:
                self._spare.clear()
                self.sink.close()
