"""Tests Ctrl-C in long work on many games: all threads stop, and played turns are recorded once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from support.helpers import Memory, check_batches, same
from support.interrupting import Interrupter

import generals_env
from generals_env.concurrency import thread_pool
from generals_env.concurrency.interrupts import raise_pending
from generals_env.engine.simulation.interruptible_spans import MIN_STRETCH, Span, joined
from generals_env.engine.simulation.single_game import view_board
from generals_env.errors import ConfigError, StateError
from generals_env.recorders import ExperienceRecorder
from generals_env.recorders.recording import kernel_player
from generals_env.wrappers import FrameStack

SMALL: dict[str, Any] = {"height": 5, "width": 5, "max_turns": 40}

RANDOM = ("random", "random")


class Pool(ThreadPoolExecutor):
    """Keeps submitted calls, to check that all of them ended."""

    given: list[Future[Any]] = []  # noqa: RUF012 - of all pools

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future = super().submit(function, *arguments, **options)
        self.given.append(future)
        return future


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Future[Any]]]:
    """Let batches and recorders use pools that keep submitted calls."""
    monkeypatch.setattr("generals_env.engine.simulation.batch.ThreadPoolExecutor", Pool)
    monkeypatch.setattr("generals_env.recorders.recording.kernel_player.ThreadPoolExecutor", Pool)
    monkeypatch.setattr("generals_env.concurrency.thread_pool.ThreadPoolExecutor", Pool)
    monkeypatch.setattr(thread_pool, "_pools", {})
    Pool.given.clear()
    yield Pool.given
    Pool.given.clear()


def same_games(env: Any) -> None:
    """Check that observations of an environment equal those computed anew from its boards."""
    seen = env.unwrapped.observe()
    boards = env.unwrapped.boards()
    for b in range(env.unwrapped.num_envs):
        tensors, masks = np.zeros_like(seen["observation"][b]), np.zeros_like(seen["action_mask"][b])
        view_board(boards, b, tensors.reshape(*tensors.shape[:2], -1), masks)
        living = env.unwrapped.batch.outcome.active[b]
        assert same(tensors[living], seen["observation"][b][living])
        assert same(masks[living], seen["action_mask"][b][living])


def gapless(batches: Memory) -> None:
    """Check that every turn of every game is there once."""
    check_batches(batches)
    turns: dict[tuple[str, int], list[int]] = {}
    for batch in batches:
        for game, player, turn in zip(batch.game_id, batch.player_id.tolist(), batch.turn.tolist(), strict=True):
            turns.setdefault((game, player), []).append(turn)
    for seen in turns.values():
        assert seen == list(range(seen[0], seen[0] + len(seen)))


def ends_of(batches: Memory) -> dict[str, tuple[int, bytes]]:
    """Return turn and owners of the last board of every game."""
    ends: dict[str, tuple[int, bytes]] = {}
    for batch in batches:
        boards = batch.unpacked()
        for row in range(len(batch)):
            index = int(batch.next_state_index[row])
            ends[batch.game_id[row]] = int(boards.games["turn"][index]), boards.owner[index].tobytes()
    return ends


@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: FrameStack(env, 2)], ids=["plain", "frames"])
def test_interrupt_anywhere_in_recorded_play_keeps_played_turns(
    wrap: Callable[[Any], Any], pools: list[Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_player, "PLAY_TURNS", 8)
    batches = Memory()
    env: Any = ExperienceRecorder(wrap(generals_env.make_vec(9, threads=2, **SMALL)), batches)
    env.reset(seed=1)
    env.play(30, RANDOM)
    number = interrupted = missed = 0
    while missed < 2:
        interrupter = Interrupter(number)
        interrupted += interrupter(lambda: env.play(30, RANDOM))
        assert all(future.done() for future in pools)
        same_games(env)
        missed += not interrupter.sent
        number += 131
        if number % 5 == 0:
            env.step(env.unwrapped.act(RANDOM))
        if number % 7 == 0:
            env.play(5, RANDOM)
    assert interrupted > 5
    env.flush()
    gapless(batches)
    ends = set(ends_of(batches).values())
    boards = env.unwrapped.boards()
    for b in np.flatnonzero(boards.games["turn"] > 0):
        assert (int(boards.games[b]["turn"]), boards.owner[b].tobytes()) in ends
    env.close()


def test_interrupt_anywhere_in_play_leaves_playable_games(pools: list[Future[Any]]) -> None:
    venv = generals_env.make_vec(300, threads=2, autoreset_mode="NEXT_STEP", **SMALL)
    venv.reset(seed=1)
    venv.play(20, RANDOM)
    number = interrupted = missed = 0
    while missed < 2:
        venv.step(venv.act(RANDOM))
        interrupter = Interrupter(number)
        interrupted += interrupter(lambda: venv.play(20, RANDOM))
        assert all(future.done() for future in pools)
        missed += not interrupter.sent
        number += 5
    assert interrupted > 10
    same_games(venv)
    venv.close()


def test_games_not_yet_reset_after_interrupt_still_wait_for_reset() -> None:
    venv = generals_env.make_vec(4, threads=1, autoreset_mode="DISABLED", height=5, width=5, max_turns=3)
    venv.reset(seed=1)
    for _ in range(3):
        venv.step(venv.act(RANDOM))
    assert not venv.going.any()

    def at_once() -> bool:
        return True

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        venv.batch.play(5, np.zeros(2, np.int64), venv._done, at_once, stop)
    assert not venv.going.any()
    with pytest.raises(StateError, match="expected a reset of ended games"):
        venv.step(np.zeros((4, 2), np.int64))
    assert venv.play(5, RANDOM).turns == 20
    assert venv.going.any()


def test_signal_ends_play_long_before_its_last_turn(pools: list[Future[Any]]) -> None:
    turns = 20_000_000
    venv = generals_env.make_vec(4, threads=2, **SMALL)
    venv.reset(seed=1)
    venv.play(1, RANDOM)  # kernels are compiled
    played = venv.batch.outcome.counts[:, 0]

    def press() -> None:
        while played.sum() < 10_000:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        venv.play(turns, RANDOM)
    thread.join()
    assert played.sum() < 2 * turns  # of 4 games
    assert all(future.done() for future in pools)
    assert venv.play(3, RANDOM).turns == 12


def test_play_checks_for_pause_after_every_piece() -> None:
    pieces: list[tuple[int, int, int]] = []
    fresh = np.ones(10, np.bool_)
    span = Span(2, 10, 1000, fresh)

    def run(low: int, high: int, turns: int) -> int:
        pieces.append((low, high, turns))
        return -1

    span.advance(run)
    assert pieces == [(2, 10, 512)]  # so many turns of games at first
    assert fresh.tolist() == [True] * 2 + [False] * 8
    while span.left:
        span.advance(run)
    assert sum((high - low) * turns for low, high, turns in pieces) == 8 * 1000


def test_slow_pieces_become_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**6))
    monkeypatch.setattr("generals_env.engine.simulation.interruptible_spans.perf_counter", lambda: float(next(now)))
    span = Span(0, 64, 10**6, np.zeros(64, np.bool_))
    pieces = []
    for _ in range(100):
        span.advance(lambda low, high, turns: pieces.append((high - low) * turns) or -1)
    assert pieces[-1] == MIN_STRETCH


def test_handler_that_does_not_raise_continues_the_play() -> None:
    venv = generals_env.make_vec(4, threads=1, **SMALL)
    venv.reset(seed=1)
    told: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: told.append(number))
    try:
        Interrupter(40)(lambda: told.append(venv.play(50, RANDOM).turns))
    finally:
        signal.signal(signal.SIGINT, before)
    assert sorted(told) == sorted([signal.SIGINT, 200])


def test_handler_that_closes_environment_ends_play() -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(generals_env.make_vec(4, threads=1, **SMALL), batches)
    env.reset(seed=1)
    env.play(1, RANDOM)
    before = signal.signal(signal.SIGTERM, lambda number, frame: env.close())

    def terminate(batch: Any) -> None:
        Memory.append(batches, batch)
        signal.raise_signal(signal.SIGTERM)

    batches.write = terminate  # type: ignore[method-assign]
    try:
        with pytest.raises(StateError, match="open"):
            env.play(10_000, RANDOM)
    finally:
        signal.signal(signal.SIGTERM, before)
    gapless(batches)
    assert batches.closed == 1


def test_interrupt_during_sink_write_is_raised_after_batch_is_released() -> None:
    class Pressed(Memory):
        def write(self, batch: Any) -> None:
            self.append(batch)
            signal.raise_signal(signal.SIGINT)

    batches = Pressed()
    env: Any = ExperienceRecorder(generals_env.make_vec(4, threads=1, **SMALL), batches)
    env.reset(seed=1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            env.play(100, RANDOM)
        env.step(env.act(RANDOM))
        with pytest.raises(KeyboardInterrupt):
            env.flush()
    gapless(batches)


def test_waiting_sink_can_be_interrupted_and_gets_its_batch_again() -> None:
    class Full(Memory):
        room = False

        def write(self, batch: Any) -> None:
            while not self.room:
                signal.raise_signal(signal.SIGINT)
                raise_pending()
            self.append(batch)

    batches = Full()
    env: Any = ExperienceRecorder(generals_env.make_vec(4, threads=2, **SMALL), batches)
    env.reset(seed=1)
    with pytest.raises(KeyboardInterrupt):
        env.play(400, RANDOM)
    batches.room = True
    env.play(3, RANDOM)
    env.close()
    gapless(batches)


# --- Other exceptions -----------------------------------------------------------------------------------------------------


def test_exceptions_leave_divided_work_after_all_of_it_has_ended(
    pools: list[Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_pool, "available_cores", lambda: 3)
    others = threading.Barrier(3)
    leaves = threading.Event()

    def run(low: int, high: int) -> None:
        others.wait(60)
        if low == 0:
            threading.Timer(0.1, leaves.set).start()
            raise MemoryError
        assert leaves.wait(60)

    with pytest.raises(MemoryError):
        thread_pool.divided(run, 3, 1)
    assert len(pools) == 2
    assert all(future.done() for future in pools)


def test_joined_waits_for_all_calls_and_raises_their_error() -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(int, "x"), pool.submit(int, "2")
        with pytest.raises(ValueError, match="invalid literal"):
            joined([first, second])
        assert joined([second]) == [2]


def test_play_reports_board_without_room_for_fair_map() -> None:
    venv = generals_env.make_vec(2, height=5, width=5, max_turns=1)
    venv.reset(seed=1)
    venv.batch._densities[:] = 0.99
    with pytest.raises(ConfigError, match="mountain_density"):
        venv.play(5, RANDOM)
