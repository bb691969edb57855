"""Plays built-in policies in kernels that record the turns themselves: ranges of games, on several threads."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.simulation.batch import Batch
from generals_env.recorders.recording.game_range_recording import GameRange
from generals_env.recorders.recording.turn_batcher import TurnBatcher

__all__ = ["KernelPlayer"]


#: Turns of each game that a thread plays at once.
PLAY_TURNS = 128

#: Turns of all games of a range together, and so of a batch: its recording then fits into the CPU's cache.
PLAY_GAME_TURNS = 4096

#: Minimum number of ranges, if there are as many games: some are played while others are written.
MIN_RANGES = 8


class PendingRange(NamedTuple):
    """A range of games that is being played, or waits for a thread.

    Attributes:
        number: Index of the range.
        games: The range, with the recording to which the kernel writes.
        future: Done when the turns are played; its result is whether all new boards had a fair map.
    """

    number: int
    games: GameRange
    future: Future[bool]


class KernelPlayer:
    """Plays built-in policies in place of ``Batch.play``, and lets the kernel record the turns.

    Several ranges of games are played at once. The calling thread writes their batches to the sink, in the order of ranges,
    while the other threads play on; when no batch is ready, it plays a range itself.
    """

    def __init__(self, batcher: TurnBatcher, batch: Batch) -> None:
        self.turn_batcher = batcher
        self.batch = batch
        count = len(batch.rng)
        self.count = min(max(-(-count * PLAY_TURNS // PLAY_GAME_TURNS), MIN_RANGES), count)
        self.edges = [count * k // self.count for k in range(self.count + 1)]
        # Frames and memory need earlier boards. Without them ranges share few recordings, which stay in the cache.
        self.carries = batcher.recipe.memory or batcher.recipe.frames > 1
        self._begun = 0  # ranges begun so far, counted over all rounds: in a round each range plays ``PLAY_TURNS`` turns
        self._playing: deque[PendingRange] = deque()  # begun, and not finished
        self._fair = True

    def __call__(
        self,
        turns: int,
        policies: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.bool_],
        asked: Callable[[], bool] = bool,
        pause: Callable[[], None] = lambda: None,
    ) -> npt.NDArray[np.int64]:
        """Play; see ``Batch.play``. All turns that were played are recorded, also when the sink or ``pause`` raises."""
        batcher, batch = self.turn_batcher, self.batch
        batch.outcome.counts[:] = 0
        stretch = max(PLAY_TURNS // (1 + batch.cost(policies) // PLAY_TURNS), 1)  # an interrupt waits for its end
        total = -(-turns // stretch) * self.count
        playing = self._playing
        if not self.carries:
            batcher.finish(goes_on=False)

        def begin(submit: Callable[[Callable[[], bool]], Future[bool]]) -> None:
            rounds, number = divmod(self._begun, self.count)
            low, high = self.edges[number], self.edges[number + 1]
            if self.carries:
                games = batcher.divide(batch.boards, self.edges, PLAY_TURNS)[number]
            else:
                games = batcher.single_range(batch.boards, low, high, PLAY_TURNS)
            count = min(stretch, turns - rounds * stretch)
            play = partial(batch.play_some, low, high, count, policies, fresh, games.recording, time.time_ns())
            playing.append(PendingRange(number, games, submit(play)))
            self._begun += 1

        others = min(batch.threads, self.count) - 1
        limit = min(self.count, 4 * others + 2)
        with ThreadPoolExecutor(max(others, 1), thread_name_prefix="generals_env") as pool:
            try:
                while self._fair and (self._begun < total or playing):
                    if asked():
                        self._stop(fresh)
                        batcher.write()
                        pause()
                    # A range is not begun again before its last turns are in a batch.
                    while (
                        self._begun < total
                        and len(playing) < limit - 1
                        and sum(not one.future.done() for one in playing) < 2 * others
                    ):
                        begin(pool.submit)
                    if not playing or (self._begun < total and len(playing) < limit and not playing[0].future.done()):
                        begin(called)
                    else:
                        self._end(fresh)
                        batcher.write()
            except Exception:  # finish the round, so that an error of the sink leaves all games at the same turn
                while playing or (self._fair and self._begun % self.count):
                    if len(playing) < limit and self._fair and self._begun % self.count:
                        begin(pool.submit)
                    else:
                        self._end(fresh)
                raise
            finally:
                self._stop(fresh)
        batcher.write()
        if not self._fair:
            batcher.leave(np.ones(len(batch.rng), np.bool_))  # a map was not fair: these boards are not used again
            return np.zeros(0, np.int64)
        return batch.sums()

    def _end(self, fresh: npt.NDArray[np.bool_]) -> None:
        """Wait for the range that was begun first, and make a batch of its turns."""
        one = self._playing[0]
        self._fair = one.future.result() and self._fair
        self._playing.popleft()
        fresh[self.edges[one.number] : self.edges[one.number + 1]] = False
        if self.carries:
            self.turn_batcher.renew_range(one.number)
        else:
            self.turn_batcher.finish_range(one.games)

    def _stop(self, fresh: npt.NDArray[np.bool_]) -> None:
        """Make batches of all turns that were played; ranges that still wait for a thread count as not begun."""
        while self._playing and self._playing[-1].future.cancel():
            self._playing.pop()
            self._begun -= 1
        while self._playing:
            self._end(fresh)


def called(play: Callable[[], bool]) -> Future[bool]:
    """Play in the calling thread, and return the result as ``ThreadPoolExecutor.submit`` would."""
    played: Future[bool] = Future()
    played.set_result(play())
    return played
