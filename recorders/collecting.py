"""From the turns that an environment tells of to batches in a sink."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Sequence

import numpy as np

from generals_env.collector import Transition
from generals_env.engine.boards import Boards, put_boards
from generals_env.engine.turn import AFTER, BEFORE
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.sinks import Sink

__all__ = ["BatchCollector"]

#: Boards in a chunk: 2.5 MB of them at 20x20.
CHUNK_BOARDS = 1024


class BatchCollector:
    """A ``Collector`` that writes what it sees to a sink, a chunk at a time.

    Attributes:
        experiences: Experiences collected so far.
        games: Games begun so far.
        closed: Whether it takes no more.
    """

    def __init__(self, sink: Sink, run_id: str | None = None) -> None:
        """Collect for ``sink``.

        Args:
            sink: Where to.
            run_id: Games are called after it, ``<run_id>-000000`` and so on; a random one without.
        """
        self.sink = sink
        self.run_id = run_id or uuid.uuid4().hex[:12]
        self.experiences = 0
        self.games = 0
        self.closed = False
        self._in_game = False
        self._next_game_id: str | None = None
        self._names: Counter[str] = Counter()
        self._chunk: Chunk | None = None
        self._unwritten: list[Chunk] = []

    def name_next_game(self, game_id: str) -> None:
        """Call the game that begins next ``game_id``, with a number behind it if there was one of that name."""
        self._names[game_id] += 1
        times = self._names[game_id]
        self._next_game_id = game_id if times == 1 else f"{game_id}-{times}"

    def on_state_transition(self, transition: Transition) -> None:
        """Take one turn of one game."""
        if self.closed:
            return
        if not self._in_game:
            self._in_game = True
            self._game_id = self._next_game_id or f"{self.run_id}-{self.games:06d}"
            self._next_game_id = None
            self.games += 1
        chunk = self._chunk
        if chunk is None or not chunk.fits(transition):
            if chunk is not None:
                self._unwritten.append(chunk)
            chunk = self._chunk = Chunk(transition.boards)
        self.experiences += chunk.append(transition, self._game_id, self.experiences)
        if self._unwritten:
            self._write()

    def on_batch_state_transition(self, transitions: Sequence[Transition]) -> None:
        """Take one turn of each of several games."""
        for transition in transitions:
            self.on_state_transition(transition)

    def on_game_end(self) -> None:
        """Let the next turn begin a new game."""
        self._in_game = False

    def flush(self) -> None:
        """Write what there is, the game that goes on included."""
        self._write_all()
        self.sink.flush()

    def close(self) -> None:
        """Write what there is and close the sink."""
        if not self.closed:
            self.closed = True
            try:
                self._write_all()
            finally:
                self.sink.close()

    def _write_all(self) -> None:
        if self._chunk is not None:
            self._unwritten.append(self._chunk)
            self._chunk = None
        self._write()

    def _write(self) -> None:
        # What a sink refuses is kept, and tried again with what comes next.
        while self._unwritten:
            self.sink.write(self._unwritten[0].batch())
            del self._unwritten[0]


class Chunk:
    """Columns that fill up."""

    def __init__(self, like: Boards) -> None:
        """Make room for boards of the shape and players of ``like``."""
        # Zeros, for records have padding, which would otherwise carry whatever was in memory into files.
        self.boards = Boards._make(np.zeros((CHUNK_BOARDS, *field.shape[1:]), field.dtype) for field in like)
        room = CHUNK_BOARDS * like.players.shape[1]
        self.game_ids: list[str] = []
        self.columns = {
            "game": np.empty(room, np.int32),
            "player_id": np.empty(room, np.int8),
            "sequence": np.empty(room, np.int64),
            "action": np.empty(room, np.int32),
            "illegal": np.empty(room, np.bool_),
            "reward": np.empty(room, np.float32),
            "terminated": np.empty(room, np.bool_),
            "truncated": np.empty(room, np.bool_),
            "collected_at": np.empty(room, np.int64),
            "state_index": np.empty(room, np.int32),
            "next_state_index": np.empty(room, np.int32),
        }
        self.like = like
        self.players = np.arange(like.players.shape[1], dtype=np.int8)
        self.numbers = np.arange(like.players.shape[1])
        self.count = 0
        self.board_count = 0

    def fits(self, transition: Transition) -> bool:
        """Return whether there is room for one more turn of these players on a board of this shape."""
        like = transition.boards
        if like is not self.like:  # an environment tells of the same arrays again and again
            game, other = like.games[0], self.like.games[0]
            same = game["height"] == other["height"] and game["width"] == other["width"]
            if not same or like.players.shape[1] != self.like.players.shape[1]:
                return False
            self.like = like
        return self.board_count + 2 <= CHUNK_BOARDS

    def append(self, transition: Transition, game_id: str, sequence: int) -> int:
        """Add the experiences of one turn and return how many they are."""
        boards = transition.boards
        begins = not self.game_ids or self.game_ids[-1] != game_id
        if begins:
            self.game_ids.append(game_id)
        first = self.board_count
        if begins or not transition.continues:
            self._add_board(boards, BEFORE)
        else:
            first -= 1
        self._add_board(boards, AFTER)
        active, columns = transition.active, self.columns
        everybody = active.all()
        count = len(active) if everybody else int(active.sum())
        rows = slice(self.count, self.count + count)
        columns["game"][rows] = len(self.game_ids) - 1
        columns["player_id"][rows] = self.players if everybody else self.players[active]
        columns["sequence"][rows] = self.numbers[:count] + sequence
        columns["action"][rows] = transition.actions if everybody else transition.actions[active]
        columns["illegal"][rows] = transition.illegal if everybody else transition.illegal[active]
        columns["reward"][rows] = transition.rewards if everybody else transition.rewards[active]
        columns["terminated"][rows] = transition.terminated if everybody else transition.terminated[active]
        columns["truncated"][rows] = transition.truncated if everybody else transition.truncated[active]
        columns["collected_at"][rows] = time.time_ns()
        columns["state_index"][rows] = first
        columns["next_state_index"][rows] = self.board_count - 1
        self.count += count
        return count

    def _add_board(self, boards: Boards, b: int) -> None:
        put_boards(self.boards, self.board_count, boards, b)
        self.board_count += 1

    def batch(self) -> ExperienceBatch:
        """Return what has been added. The chunk is done with."""
        return ExperienceBatch(
            game_ids=tuple(self.game_ids),
            boards=Boards._make(field[: self.board_count] for field in self.boards),
            **{name: column[: self.count] for name, column in self.columns.items()},
        )
