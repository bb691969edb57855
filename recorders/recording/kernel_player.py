"""Records long plays: kernels play games in parts and write each part's turns into its own chunk."""

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
from generals_env.recorders.recording.game_range import GameRange
from generals_env.recorders.recording.turn_batcher import TurnBatcher

__all__ = ["PlayWriter"]


#: Turns that a thread plays on end, and how many turns of games a batch then holds: below the size of caches.
PLAY_TURNS = 128


PLAY_GAME_TURNS = 4096


#: Parts of games at the least, where there are as many games: some are played while others are written.
MIN_PARTS = 8


class Playing(NamedTuple):
    """A part that is being played, or waits for a thread.

    Attributes:
        number: Which of the parts it is.
        part: Its recording.
        future: Tells when it was played, and whether all its boards had a fair map.
    """

    number: int
    part: GameRange
    future: Future[bool]


class PlayWriter:
    """Plays built-in policies in place of ``Batch.play``, and lets the kernel write turns down.

    Games are played a part at a time, some parts at once. Batches go to the sink from the thread that called, in the order of
    parts, while the other threads play on; when nothing is ready for the sink, this thread plays a part, too.
    """

    def __init__(self, batcher: TurnBatcher, batch: Batch) -> None:
        self.turn_batcher = batcher
        self.batch = batch
        count = len(batch.rng)
        self.count = min(max(-(-count * PLAY_TURNS // PLAY_GAME_TURNS), MIN_PARTS), count)
        self.edges = [count * k // self.count for k in range(self.count + 1)]
        # Frames and memory go back to earlier boards. Without them parts share few recordings, which stay in the cache.
        self.carries = batcher.recipe.memory or batcher.recipe.frames > 1
        self._begun = 0  # parts begun so far: all of them for their first turns, then all for their next, and so on
        self._playing: deque[Playing] = deque()  # those of them that are not written down
        self._fair = True

    def __call__(
        self,
        turns: int,
        policies: npt.NDArray[np.int64],
        fresh: npt.NDArray[np.bool_],
        asked: Callable[[], bool] = bool,
        pause: Callable[[], None] = lambda: None,
    ) -> npt.NDArray[np.int64]:
        """Play; see ``Batch.play``. What was played is in the batcher, whatever the sink or ``pause`` raises."""
        batcher, batch = self.turn_batcher, self.batch
        batch.outcome.counts[:] = 0
        total = -(-turns // PLAY_TURNS) * self.count
        playing = self._playing
        if not self.carries:
            batcher.finish(goes_on=False)

        def begin(submit: Callable[[Callable[[], bool]], Future[bool]]) -> None:
            rounds, number = divmod(self._begun, self.count)
            low, high = self.edges[number], self.edges[number + 1]
            if self.carries:
                part = batcher.divide(batch.boards, self.edges, PLAY_TURNS)[number]
            else:
                part = batcher.single_range(batch.boards, low, high, PLAY_TURNS)
            count = min(PLAY_TURNS, turns - rounds * PLAY_TURNS)
            play = partial(batch.play_some, low, high, count, policies, fresh, part.recording, time.time_ns())
            playing.append(Playing(number, part, submit(play)))
            self._begun += 1

        others = min(batch.threads, self.count) - 1
        most = min(self.count, 4 * others + 2)
        with ThreadPoolExecutor(max(others, 1), thread_name_prefix="generals_env") as pool:
            try:
                while self._fair and (self._begun < total or playing):
                    if asked():
                        self._stop(fresh)
                        batcher.write()
                        pause()
                    # A part is not begun again before its last turns are written down.
                    while (
                        self._begun < total
                        and len(playing) < most - 1
                        and sum(not one.future.done() for one in playing) < 2 * others
                    ):
                        begin(pool.submit)
                    if not playing or (self._begun < total and len(playing) < most and not playing[0].future.done()):
                        begin(called)
                    else:
                        self._end(fresh)
                        batcher.write()
            except Exception:  # what the sink raises leaves all games at the same turn
                while playing or (self._fair and self._begun % self.count):
                    if len(playing) < most and self._fair and self._begun % self.count:
                        begin(pool.submit)
                    else:
                        self._end(fresh)
                raise
            finally:
                self._stop(fresh)
        batcher.write()
        if not self._fair:
            batcher.leave(np.ones(len(batch.rng), np.bool_))  # the boards are not to be gone on with
            return np.zeros(0, np.int64)
        return batch.sums()

    def _end(self, fresh: npt.NDArray[np.bool_]) -> None:
        """Wait for the part that was begun first, and make a batch of what it played."""
        one = self._playing[0]
        self._fair = one.future.result() and self._fair
        self._playing.popleft()
        fresh[self.edges[one.number] : self.edges[one.number + 1]] = False
        if self.carries:
            self.turn_batcher.renew_range(one.number)
        else:
            self.turn_batcher.finish_range(one.part)

    def _stop(self, fresh: npt.NDArray[np.bool_]) -> None:
        """Make batches of all that was played; parts that wait for a thread count as not begun."""
        while self._playing and self._playing[-1].future.cancel():
            self._playing.pop()
            self._begun -= 1
        while self._playing:
            self._end(fresh)


def called(play: Callable[[], bool]) -> Future[bool]:
    """Play here and now, as a pool of threads would somewhere else."""
    played: Future[bool] = Future()
    played.set_result(play())
    return played
