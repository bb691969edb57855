"""Tests the memory of replay buffers: its size, its release, and that nothing accumulates."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import PATIENCE
from support.paths import TESTS
from support.recorded import cut, games_of, record_game, renamed

from generals_env.recorders.buffers.replay_buffer import STORES, ReplayBuffer
from generals_env.recorders.experience.tensors import Tensors

stores = pytest.mark.parametrize("store", STORES)

#: Runs in its own process: this one holds objects of other tests. Prints bytes an experience, and how many stay when they are
#: cleared and drained.
HUNDRED_THOUSAND = """
import ctypes, gc, os, sys
sys.path.insert(0, sys.argv[2])
from support.recorded import record_game, renamed
from generals_env.recorders.buffers.replay_buffer import ReplayBuffer

def resident():
    gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # glibc keeps a megabyte or two
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

game = record_game(1, 500, height=20, width=20)

def fill(buffer, count=100):
    for number in range(count):
        buffer.write(renamed(game, str(number), 1000 * number))

warm = ReplayBuffer(2000, store=sys.argv[1])
fill(warm, 2)
warm.drain()
start = resident()
buffer = ReplayBuffer(100_000, store=sys.argv[1])
fill(buffer)
full = resident()
assert len(buffer) == 100_000
buffer.clear()
cleared = resident()
fill(buffer)
batch = buffer.drain()
assert len(batch) == 100_000
del batch
drained = resident()
print(full - start, cleared - start, drained - start)
"""

#: Bytes an experience takes, all in, of two players at 20x20.
MOST = {"boards": 700, "games": 80, "zstd": 40}


@stores
@pytest.mark.checklist("P1")
def test_memory_of_hundred_thousand_experiences_is_small_and_released(
    store: str, record_property: Callable[[str, Any], None]
) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("the system does not tell a process's memory")
    command = [sys.executable, "-c", HUNDRED_THOUSAND, store, str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    taken, after_clear, after_drain = map(int, done.stdout.split())
    record_property("bytes_an_experience", taken / 100_000)
    print(f"{store}: {taken / 100_000:.0f} bytes an experience, {after_clear} after clear, {after_drain} after drain")  # noqa: T201
    assert 0 < taken < 100_000 * MOST[store]
    assert max(after_clear, after_drain) < 0.1 * taken + 500_000


@pytest.mark.checklist("P3")
def test_draws_into_arrays_allocate_no_growing_memory() -> None:
    small, large = ReplayBuffer(1000, seed=1), ReplayBuffer(1000, seed=2)
    for game in games_of("two players"):
        small.write(game)
    large.write(record_game(3, 200, height=20, width=20))
    rooms = [Tensors.empty(64, (9, *shape), shape) for shape in ((6, 7), (20, 20))]
    outs = [buffer.sample(64) for buffer in (small, large)]

    def draw(times: int) -> None:
        for _ in range(times):
            for buffer, out, room in zip((small, large), outs, rooms, strict=True):
                buffer.sample(64, out).tensors(room)

    draw(300)  # numba and numpy keep some wrappers and small blocks for the calls that follow
    growths = []
    for _ in range(7):
        gc.collect()
        blocks = sys.getallocatedblocks()
        draw(100)
        gc.collect()
        growths.append(sys.getallocatedblocks() - blocks)
    assert sorted(growths)[3] < 50, growths  # one block a draw would be 200
    tracemalloc.start()
    try:
        draw(5)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        draw(20)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Boards of one draw of 64 at 20x20 take 360 KB, its tensors 2 MB.
    assert peak - before < 300_000


@stores
def test_games_are_forgotten_with_their_experiences(store: str) -> None:
    games = [game.select(np.arange(12)) for game in games_of("two players")]
    buffer = ReplayBuffer(60, store=store)
    blocks = []
    for number in range(10_000):
        buffer.write(renamed(games[number % len(games)], f"game number {number}", 12 * number))
        if number in (2000, 9999):
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    stats, held = buffer.stats(), buffer._store
    assert (stats.games, stats.size, stats.added) == (5, 60, 120_000)
    assert set(buffer.snapshot().game_ids) == {f"game number {number}" for number in range(9995, 10_000)}
    names = [value for value in vars(held).values() if isinstance(value, dict)]
    assert names
    assert max(map(len, names)) <= 8
    assert blocks[1] - blocks[0] < 2000  # a name alone is a block
    assert stats.nbytes < 60 * 1000


@stores
def test_games_without_experiences_are_forgotten(store: str) -> None:
    """A game may be left before it ends, with nothing of it kept."""
    game = games_of("two players")[0].select(np.arange(20))
    buffer = ReplayBuffer(1000, store=store, keep_probability=0.0)
    for number in range(500):
        for batch in cut(renamed(game, str(number), 20 * number), 10):
            buffer.write(batch)
    stats = buffer.stats()
    assert (stats.size, stats.skipped, stats.games) == (0, 10_000, 0)
    assert stats.nbytes < 100_000
