"""Plays a batch of games: boards, observations and random states in arrays, kernels on a pool of threads.

A game depends on its own board, its own generators and its players' actions, never on its neighbours: results do not depend
on the number of threads, nor on the number of games.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, Boards, empty_boards
from generals_env.engine.observations.incremental import Observations
from generals_env.engine.observations.tile_sets import TileSets
from generals_env.engine.packed.recording import Recording, empty_recording, flat
from generals_env.engine.policies.codes import GIVEN
from generals_env.engine.rules.action_space import action_count
from generals_env.engine.simulation.batch_kernel import run_boards
from generals_env.engine.simulation.interruptible_spans import Span, joined
from generals_env.engine.simulation.mid_game import in_game
from generals_env.engine.simulation.thinker import Thinker
from generals_env.engine.simulation.thinkers import choose_all, kernel_codes, thinkers_of, thinks
from generals_env.engine.simulation.turn_outcome import WINS, Outcome
from generals_env.engine.simulation.workers import Workers

__all__ = ["Batch"]

MIN_TURNS = 256  # of a thread: waking a thread takes as long as some hundred turns
BEGIN_TURNS = 8  # how many turns take as long as to begin a game
GLANCE = 0.02  # seconds between two calls of ``asked`` while the calling thread waits for the others


class Batch:
    """B games of P players with their observations and masks.

    Attributes:
        boards: The boards.
        outcome: Actions of the next turn, and results of the last one.
        views: Observations and masks.
        thinkers: Policies with a memory by their codes, as far as they have played on these boards.
        restarts: Whether ``play`` and ``play_some`` replace games that end; else these stand still.
    """

    def __init__(
        self,
        boards: Boards,
        weights: npt.NDArray[np.float64],
        max_turns: int,
        sizes: npt.NDArray[np.int64],
        densities: npt.NDArray[np.float64],
        template: Boards | None = None,
        channels: int = 9,
        threads: int = 1,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        """Allocate the arrays; ``reset`` begins the games.

        Args:
            boards: The boards; games are played on them in place.
            weights: (11,) float64, see ``rewards.WEIGHTS``.
            max_turns: Turn at which games are cut off.
            sizes: (6,) int64, see ``generate_map``.
            densities: (3,) float64, see there.
            template: Boards to begin with, instead of random maps: the generator of each game draws one of them.
            channels: Channels of an observation, 9 or 21.
            threads: Number of threads that play.
            dtype: Of the observations, see ``engine.observations.dtypes``.
        """
        count, players = boards.players.shape
        tiles = boards.owner.shape[1]
        height, width = int(boards.games[0]["height"]), int(boards.games[0]["width"])
        self.boards = boards
        self.template = empty_boards(0, height, width, players) if template is None else template
        self.sets = TileSets(
            land=np.zeros((count, players, height), np.uint64),
            movable=np.zeros((count, players, height), np.uint64),
            seen=np.zeros((count, players, height), np.uint64),
            built=np.zeros((count, height), np.uint64),
            passable=np.zeros((count, height), np.uint64),
            exits=np.zeros((count, tiles), np.uint8),
            growing=np.zeros((count, tiles + 1), np.int16),
            scores=np.zeros((count, players, 2), np.int64),
        )
        self.views = Observations(
            observations=zeros((count, players, tiles, channels), dtype),
            masks=zeros((count, players, action_count(int(boards.games[0]["version"]), tiles)), np.int8),
            tile_codes=np.zeros((count, players, tiles), np.uint8),
        )
        self.outcome = Outcome(
            actions=np.zeros((count, players), np.int64),
            active=np.zeros((count, players), np.bool_),
            illegal=np.zeros((count, players), np.bool_),
            illegal_count=np.zeros((count, players), np.int64),
            rewards=np.zeros((count, players), np.float32),
            terminated=np.zeros((count, players), np.bool_),
            truncated=np.zeros((count, players), np.bool_),
            counts=np.zeros((count, WINS + players), np.int64),
            begun=np.zeros(count, np.int64),
        )
        self.rng = np.zeros(count, np.uint64)
        self.policy_rng = np.zeros((count, players), np.uint64)
        self.thinkers: dict[int, Thinker] = {}
        self.threads = threads
        self.restarts = True
        self._weights = weights
        self._max_turns = max_turns
        self._sizes = sizes
        self._densities = densities
        teams = boards.players["team"][0]
        self._teams = len(set(teams.tolist())) < players
        self._none = np.zeros(count, np.bool_)
        self._all = np.ones(count, np.bool_)
        self._chosen = np.full(count, -1, np.int64)
        self._indices = np.arange(count)
        self._unrecorded = empty_recording(0, tiles, players, 0, 0, 0)
        self._given = np.full(players, GIVEN, np.int64)
        self._seats = (0, 1) if players == 2 else ()
        self._castles = True if boards.games[0]["version"] == COMPETITION_VERSION else None
        self._workers = Workers()
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()

    def seed(self, states: npt.NDArray[np.uint64], which: npt.NDArray[np.bool_]) -> None:
        """Set the generators of the games that ``which`` (B,) picks from ``states`` (B,) uint64."""
        self.rng[which] = states[which]
        for player in range(self.policy_rng.shape[1]):  # an odd multiple of anything keeps the streams apart
            self.policy_rng[which, player] = states[which] ^ np.uint64((player + 1) * 0x5851F42D4C957F2D % 2**64)

    def reset(self, which: npt.NDArray[np.bool_]) -> bool:
        """Begin new games on the boards that ``which`` (B,) picks; return False if a fair map was not found."""
        return self._run(which, self._given, 0, False)

    def load(
        self,
        boards: Boards,
        index: npt.NDArray[np.int64] | None = None,
        active: npt.NDArray[np.bool_] | None = None,
        blind: bool = False,
        which: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Continue other games on the boards of the batch, in any turn: sets and views are theirs at once.

        Generators keep their states, see ``seed``. Only boards that are not contiguous in memory are copied twice.

        Args:
            boards: n boards of the shape, the players, teams and rules of the batch.
            index: (B,) int64, the board that each game continues; None: board b for game b.
            active: (B, P) bool, True until the player's game ends; None: players whose team lives, if another one does.
            blind: See ``run_on``.
            which: (B,) bool, the games that are replaced; None for all.
        """
        template, chosen = self.template, self._chosen
        self._chosen = self._indices if index is None else np.ascontiguousarray(index, np.int64)
        which = self._all if which is None else which
        active = in_game(boards)[self._chosen] if active is None else active
        np.copyto(self.outcome.active, active, where=which[:, None])
        self.template = Boards._make(map(np.ascontiguousarray, boards))
        try:
            self._run(which, self._given, 0, False, blind)
        finally:
            self.template, self._chosen = template, chosen

    def run_on(self, turns: int, policies: npt.NDArray[np.int64], blind: bool = False) -> None:
        """Play turns with built-in policies; a game that ends stays as it is, and plays no further turns.

        Args:
            turns: Number of turns of each game, at least 1.
            policies: (P,) int64, codes as in ``run_boards``; those of ``GIVEN`` repeat their actions in ``outcome``.
            blind: Leaves observations, masks and tile codes as they are, for games of which only the boards matter: built-in
                policies without memory and rules do not read them. ``load`` writes them again.
        """
        self._run(self._none, policies, turns, False, blind)

    def step(self, policies: npt.NDArray[np.int64] | None = None) -> None:
        """Play one turn of every game that has not ended, with the actions in ``outcome``.

        Args:
            policies: (P,) int64, codes as in ``run_boards``: built-in policies choose their actions first. None: all actions
                are given.
        """
        self._run(self._none, self._given if policies is None else policies, 1, False)

    def act(self, policies: npt.NDArray[np.int64]) -> None:
        """Write the actions of built-in policies into ``outcome``; codes as in ``run_boards``."""
        self._run(self._none, policies, 0, False)

    def play(
        self,
        turns: int,
        policies: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.bool_],
        asked: Callable[[], bool] = bool,
        pause: Callable[[], None] = lambda: None,
    ) -> npt.NDArray[np.int64]:
        """Play turns with built-in policies; games in ``fresh`` begin first; with ``restarts`` a new game follows each end.

        Args:
            turns: Number of turns of each game.
            policies: (P,) int64, codes as in ``run_boards``.
            fresh: (B,) bool, in and out: True for games to begin; set to False once they have begun.
            asked: Returns whether to pause; called every few hundredths of a second.
            pause: Called for a pause, while no thread plays and every game is between two turns. An exception of it ends the
                play there: some games have played more turns than others.

        Returns:
            Sums over all games, see ``Outcome.counts``; empty if a fair map was not found.
        """

        def run(low: int, high: int, count: int) -> int:
            return self._run_some(self._unrecorded, low, high, count, policies, fresh, self.restarts, False, 0)

        self.outcome.counts[:] = 0
        edges = self.edges(turns, policies)
        cost = self.cost(policies)
        spans = [Span(low, high, turns, fresh, cost) for low, high in pairwise(edges)]
        while any(span.left for span in spans):
            self._advance(spans, run, asked)
            if not all(span.fair for span in spans):
                return np.zeros(0, np.int64)
            if asked():
                pause()
        return self.sums()

    def _advance(self, spans: list[Span], run: Callable[[int, int, int], int], asked: Callable[[], bool]) -> None:
        """Play spans of games, the first one on this thread, until they end or ``asked`` returns True."""
        stops = False

        def play(span: Span) -> None:
            while span.left and not stops:
                span.advance(run)

        first, *others = spans
        parts: list[Future[None]] = []
        try:
            for span in others:
                parts.append(self._threads().submit(play, span))  # noqa: PERF401 - those before an exception are joined
            while first.left and not asked():
                first.advance(run)
            while not asked() and wait(parts, GLANCE).not_done:
                pass
        finally:
            stops = True
            joined(parts)

    def sums(self) -> npt.NDArray[np.int64]:
        """Return the sums of ``outcome.counts`` over all games."""
        total: npt.NDArray[np.int64] = self.outcome.counts.sum(axis=0)
        return total

    def play_some(
        self,
        low: int,
        high: int,
        turns: int,
        policies: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.bool_],
        recording: Recording,
        now: int,
    ) -> bool:
        """Play and record games ``low`` to ``high`` on this thread; their counts are added to ``outcome.counts``.

        Args:
            low: First game.
            high: One more than the last game.
            turns: Number of turns of each game.
            policies: See ``play``.
            fresh: See ``play``.
            recording: Recording to write to, with room for two boards a turn and game.
            now: Time of the turns, nanoseconds UTC.

        Returns:
            False if a fair map was not found.
        """
        return self._run_some(recording, low, high, turns, policies, fresh, self.restarts, True, now) < 0

    def edges(self, turns: int, policies: npt.NDArray[np.int64]) -> list[int]:
        """Return the first game of each thread when ``turns`` turns are to be played by ``policies``, and B at the end."""
        count = len(self.rng)
        threads = max(min(self.threads, count * max(turns, 1) * self.cost(policies) // MIN_TURNS), 1)
        return [count * k // threads for k in range(threads + 1)]

    def cost(self, policies: npt.NDArray[np.int64]) -> int:
        """Return how long a turn of ``policies`` takes, in turns of the policies of the kernel."""
        if policies is self._given or not thinks(policies):
            return 1
        return sum(thinker.cost for thinker in thinkers_of(self, policies))

    def _run(
        self,
        fresh: npt.NDArray[np.bool_],
        policies: npt.NDArray[np.int64],
        turns: int,
        restarts: bool,
        blind: bool = False,
    ) -> bool:
        def run(low: int, high: int) -> int:
            return self._run_some(self._unrecorded, low, high, turns, policies, fresh, restarts, False, 0, blind)

        begun = 0 if fresh is self._none else int(fresh.sum())
        edges = self.edges(turns + begun * BEGIN_TURNS // len(fresh), policies)
        if len(edges) == 2:
            return run(*edges) < 0
        return max(self._workers.run([partial(run, low, high) for low, high in pairwise(edges)])) < 0

    def _run_some(
        self,
        recording: Recording,
        low: int,
        high: int,
        turns: int,
        policies: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.bool_],
        restarts: bool,
        records: bool,
        now: int,
        blind: bool = False,
    ) -> int:
        if policies is not self._given and thinks(policies):
            return self._run_thinking(recording, low, high, turns, policies, fresh, restarts, records, now)
        return self._run_kernel(recording, low, high, turns, policies, fresh, restarts, records, now, blind)

    def _run_thinking(
        self,
        recording: Recording,
        low: int,
        high: int,
        turns: int,
        policies: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.bool_],
        restarts: bool,
        records: bool,
        now: int,
    ) -> int:
        """Ask the thinkers before each turn, and let the kernel play it."""
        thinkers = thinkers_of(self, policies)
        codes = kernel_codes(policies)
        failed = -1
        if turns == 0 or fresh[low:high].any():
            first = self._given if turns else codes
            failed = self._run_kernel(recording, low, high, 0, first, fresh, restarts, records, now)
        for turn in range(max(turns, 1)):
            if failed >= 0:
                break
            choose_all(self, thinkers, policies, low, high)
            if turn < turns:
                failed = self._run_kernel(recording, low, high, 1, codes, self._none, restarts, records, now)
        return failed

    def _run_kernel(
        self,
        recording: Recording,
        low: int,
        high: int,
        turns: int,
        policies: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.bool_],
        restarts: bool,
        records: bool,
        now: int,
        blind: bool = False,
    ) -> int:
        """Run ``run_boards`` and return its result."""
        return run_boards(
            *self.boards,
            *self.sets,
            *self.views,
            *self.outcome,
            *self.template,
            self._chosen,
            *flat(recording),
            self.rng,
            self.policy_rng,
            policies,
            self._sizes,
            self._densities,
            self._weights,
            fresh,
            low,
            high,
            turns,
            self._max_turns,
            restarts,
            self._teams,
            records,
            blind,
            now,
            self._seats,
            self._castles,
        )

    def _threads(self) -> ThreadPoolExecutor:
        # A forked process has no threads of its parent.
        if self._pool is None or self._process != os.getpid():
            self._pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="generals_env")
            self._process = os.getpid()
        return self._pool

    def close(self) -> None:
        """End the threads."""
        self._workers.close()
        if self._pool is not None and self._process == os.getpid():
            self._pool.shutdown()
        self._pool = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the threads, for copy and pickle."""
        return {**self.__dict__, "_pool": None, "_workers": Workers()}


def zeros(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Return zeros in memory that has been touched once, in large pages where the system offers them."""
    array = np.empty(shape, dtype)
    array[:] = 0
    return array
