"""Plays many games at once for the command line and records a given number of whole games."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba.core import event

from generals_env import make_vec
from generals_env.cli.ending_signals import ending_at_once
from generals_env.cli.warm import Worker
from generals_env.concurrency.thread_pool import available_cores
from generals_env.engine.boards import NEUTRAL
from generals_env.engine.kernel_cache.second_process import SHOWN
from generals_env.errors import GeneralsError
from generals_env.recorders import ExperienceBatch, ExperienceRecorder
from generals_env.recorders.datasets.recorded_games import game_of_batch
from generals_env.recorders.experience.sink import ClosingSink, Sink
from generals_env.recorders.formats import format_of
from generals_env.replay import RecordedGame
from generals_env.vector import GeneralsVector

__all__ = ["WholeGames", "compile_kernels", "ending", "games_at_once", "play_games"]

#: Default number of games to play at once: more are not faster.
MAX_AT_ONCE = 512

#: Memory for the tensors and masks of these games.
MAX_BYTES = 2**28

#: Turns of each game between checks whether enough games have ended.
TURNS = 128

#: Number of games of which the first that is won is drawn.
CANDIDATES = 8


@dataclass
class Running:
    """A game that has begun and not ended for all its players.

    Attributes:
        number: Number of games that began before it.
        ended: Number of players for whom it has ended.
        winner: The player who won, or ``NEUTRAL``.
        truncated: Whether it was truncated.
        turns: Maximum of the turns of players for whom it has ended.
    """

    number: int
    ended: int = 0
    winner: int = NEUTRAL
    truncated: bool = False
    turns: int = 0


class WholeGames(ClosingSink):
    """Writes the first ``count`` games that begin to a sink, each one whole, and counts how they end.

    In a vector environment a new game begins where one ends. The games to record are chosen when they begin, as the first
    games to end are shorter than the average. Experiences of other games are dropped, and ``sequence`` is renumbered without
    gaps.

    Attributes:
        games: Number of games that have ended.
        turns: Number of turns of these games.
        experiences: Number of experiences written.
        endings: Number of games by ending; see ``ending``.
    """

    def __init__(self, sink: Sink, count: int, picture: bool = False, on_write: Callable[[], object] = bool) -> None:
        """Write games to ``sink``.

        Args:
            sink: Sink for the experiences.
            count: Number of games.
            picture: Whether to keep a game for ``recorded``.
            on_write: Function to call after each batch.
        """
        self.games = self.turns = self.experiences = 0
        self.endings: Counter[str] = Counter()
        self._sink = sink
        self._count = count
        self._on_write = on_write
        self._begun = 0
        self._running: dict[str, Running] = {}
        self._drawn: dict[str, list[ExperienceBatch]] = {}  # candidates for the picture
        self._candidates = CANDIDATES if picture else 0
        self._chosen: str | None = None

    @property
    def complete(self) -> bool:
        """Whether all games have ended."""
        return self.games == self._count

    def write(self, batch: ExperienceBatch) -> None:
        """Write the experiences of the chosen games."""
        for name in batch.game_ids:
            if name not in self._running and self._begun < self._count:
                self._running[name] = Running(self._begun)
                self._begun += 1
        kept = np.array([name in self._running for name in batch.game_ids], np.bool_)
        if not kept.all():
            batch = batch.select(kept[batch.game])
        batch.rows["sequence"] = np.arange(self.experiences, self.experiences + len(batch))
        if len(batch):
            self._sink.write(batch)
            self.experiences += len(batch)  # after the write: the caller repeats a batch that the sink refuses
            self._keep_boards(batch)
            self._count_endings(batch)
        self._on_write()

    def _keep_boards(self, batch: ExperienceBatch) -> None:
        if self._chosen is not None:
            return
        for game, name in enumerate(batch.game_ids):
            if self._running[name].number < self._candidates:
                self._drawn.setdefault(name, []).append(batch.select(batch.game == game))

    def _count_endings(self, batch: ExperienceBatch) -> None:
        rows = np.flatnonzero(batch.terminated | batch.truncated)
        grounds = batch.boards.entries["ground"][batch.next_state_index[rows]]
        players = batch.player_id[rows]
        alive = batch.boards.players["alive"][grounds, players] & batch.terminated[rows]
        for row, player, survives in zip(rows.tolist(), players.tolist(), alive.tolist(), strict=True):
            name = batch.game_ids[batch.game[row]]
            game = self._running[name]
            game.ended += 1
            game.truncated |= bool(batch.truncated[row])
            game.turns = max(game.turns, int(batch.turn[row]) + 1)
            if survives:
                game.winner = player
            if game.ended == batch.players:
                self._end(name, game)

    def _end(self, name: str, game: Running) -> None:
        del self._running[name]
        self.games += 1
        self.turns += game.turns
        self.endings[ending(game.winner, game.truncated)] += 1
        if game.winner >= 0 and name in self._drawn and self._chosen is None:
            self._chosen = name
            self._drawn = {name: self._drawn[name]}

    def recorded(self) -> RecordedGame:
        """Return a whole game, won if possible; only with ``picture``."""
        return game_of_batch(ExperienceBatch.concat(self._drawn[self._chosen or next(iter(self._drawn))]))

    def flush(self) -> None:
        """Flush the sink."""
        self._sink.flush()

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


def ending(winner: int, truncated: bool) -> str:
    """Return how a game ended: the player who won, ``"draws"`` or ``"cut off"``."""
    if winner >= 0:
        return f"player_{winner}"
    return "cut off" if truncated else "draws"


def games_at_once(games: int, players: int, tiles: int) -> int:
    """Return the number of games to play at once."""
    size = players * tiles * (9 * 4 + 9)  # nine float32 planes and the mask
    return max(min(games, MAX_AT_ONCE, MAX_BYTES // size), 1)


def play_games(games: GeneralsVector, policies: Sequence[str], seed: int, sink: WholeGames) -> float:
    """Play and record until ``sink`` is complete; return the seconds that took, including writing."""
    turns = min(TURNS, games.config.max_turns)
    with ExperienceRecorder(games, sink, policies=policies) as env:
        started = time.perf_counter()
        env.reset(seed=seed)
        while not sink.complete:
            env.play(turns, policies)
        sink.flush()
        return time.perf_counter() - started


class Encoder(ClosingSink):
    """Encodes batches and discards the result."""

    def __init__(self, form: str) -> None:
        self._format = format_of(form)

    def write(self, batch: ExperienceBatch) -> None:
        """Encode a batch."""
        self._format.encode(batch)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def compile_kernels(form: str, picture: bool) -> None:
    """Play, record and encode one turn, so that all kernels are compiled; the engine shows that while it takes long.

    If a kernel must be compiled, a second process compiles those for files meanwhile.
    """
    with ending_at_once():
        second = SecondProcess()
        try:
            with event.install_listener("numba:compile", second):
                games = make_vec(2, max_turns=1)
                games.reset(seed=0)
                games.play(1, ("expander", "random"))
        finally:
            second.wait()
        sink = WholeGames(Encoder(form), 1, picture)
        play_games(games, ("expander", "random"), 0, sink)
        if picture:
            sink.recorded()


class SecondProcess(event.Listener):
    """Starts a process that compiles the kernels for files when this process begins to compile one."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def on_start(self, event: Any) -> None:
        """Start the process."""
        if self._worker is None and available_cores() > 1:
            self._worker = Worker("written games", os.environ | {SHOWN: "1"})

    def on_end(self, event: Any) -> None:
        """Do nothing."""

    def wait(self) -> None:
        """Wait for the process. If it fails, this process compiles the kernels, or fails likewise."""
        if self._worker is not None:
            with suppress(GeneralsError):
                self._worker.result()
