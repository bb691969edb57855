"""Tests the limits of samples for each experience written: their arithmetic, and real processes that wait and are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.datasets import recorded
from support.helpers import PATIENCE, Memory, wait_until

from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.recorders.sinks import insert_limiter
from generals_env.recorders.sinks.insert_limiter import InsertLimiter, LimitedSink
from generals_env.recorders.sinks.insert_limits import InsertCounts, InsertLimits

LIMITS = {"samples_per_insert": 4.0, "min_size": 100, "error": 40.0}

#: Writes one experience after the other, and prints how many it has written.
COLLECTOR = """
import sys
from generals_env.recorders.sinks.insert_limiter import InsertLimiter
limiter = InsertLimiter(sys.argv[1])
while True:
    limiter.await_insert()
    limiter.count_inserted(int(sys.argv[2]))
"""

#: Draws ten experiences at a time.
LEARNER = """
import sys
from generals_env.recorders.sinks.insert_limiter import InsertLimiter
limiter = InsertLimiter(sys.argv[1])
for _ in range(int(sys.argv[2])):
    limiter.await_sample(10)
"""


@contextmanager
def process(script: str, *arguments: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script in a process of its own, and kill it at the end."""
    with subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)]) as running:
        try:
            yield running
        finally:
            running.kill()


def held(limiter: InsertLimiter) -> InsertCounts:
    """Return the counts as soon as collectors have to wait."""
    wait_until(lambda: not limiter.limits.may_insert(limiter.counts))
    return limiter.counts


def starved(limiter: InsertLimiter) -> InsertCounts:
    """Return the counts as soon as a learner, which draws ten, has to wait."""
    wait_until(lambda: not limiter.limits.may_sample(limiter.counts, 10))
    return limiter.counts


def test_limits_are_those_computed_by_hand() -> None:
    limits = InsertLimits(**LIMITS)
    # Until 100 are written nothing is drawn; the balance is then 0, and writers may go on to 40 / 4 = 10 more.
    assert limits.may_insert(InsertCounts(99, 0, 0))
    assert not limits.may_sample(InsertCounts(99, 0, 0), 1)
    assert limits.balance(InsertCounts(100, 0, 0)) == 0
    assert limits.may_insert(InsertCounts(110, 0, 0))  # a balance of 40
    assert not limits.may_insert(InsertCounts(111, 0, 0))
    assert limits.may_insert(InsertCounts(111, 0, 5))  # wanted
    assert limits.may_sample(InsertCounts(100, 0, 0), 40)
    assert not limits.may_sample(InsertCounts(100, 0, 0), 41)
    assert limits.may_sample(InsertCounts(111, 84, 0), 0)  # a balance of 44 - 84 = -40
    assert not limits.may_sample(InsertCounts(111, 84, 0), 1)
    assert InsertLimits(8, 5000).error == 4000
    assert InsertLimits(1).error == 1000


def test_one_side_may_always_go_on_in_every_state() -> None:
    limits = InsertLimits(3.0, 10, 8.0)
    limits.check_draw(16)
    with pytest.raises(ConfigError, match=r"error: expected at least 8\.5 for draws of 17"):
        limits.check_draw(17)
    for inserted in range(60):
        for sampled in range(180):
            counts = InsertCounts(inserted, sampled, 0)
            assert limits.may_insert(counts) or limits.may_sample(counts, 16), counts


def test_wrong_limits_and_places_are_refused(tmp_path: Path) -> None:
    for wrong, text in (
        ({"samples_per_insert": 0}, "samples_per_insert: expected a finite number above 0"),
        ({"samples_per_insert": float("inf")}, "samples_per_insert"),
        ({"min_size": 0}, "min_size"),
        ({"error": 0.5}, "error: expected a finite number of at least 1"),
    ):
        with pytest.raises(ConfigError, match=text):
            InsertLimits(**{**LIMITS, **wrong})
    place = tmp_path / "limit"
    with pytest.raises(StorageError, match="place: expected a file of counts"):
        InsertLimiter(place)
    with InsertLimiter(place, LIMITS), pytest.raises(ConfigError, match="limits: expected those stored"):
        InsertLimiter(place, {**LIMITS, "samples_per_insert": 5})
    with InsertLimiter(place) as other:
        assert other.limits == InsertLimits(**LIMITS)
        with pytest.raises(ConfigError, match="timeout: expected seconds"):
            other.limited(Memory(), timeout=-1)
    for wrong_place in ("", "http://host/x", 3):
        with pytest.raises(ConfigError, match="place: expected a file or a stream of Redis"):
            InsertLimiter(wrong_place, LIMITS)  # type: ignore[arg-type]
    (tmp_path / "text").write_text("no database, but a text that is long enough to be read as one" * 20)
    with pytest.raises(StorageError, match="place: expected a file of counts"):
        InsertLimiter(tmp_path / "text", LIMITS)
    with pytest.raises(ConfigError, match="limiter: expected an InsertLimiter"):
        LimitedSink(Memory(), None)  # type: ignore[arg-type]


def test_sink_waits_for_draws_and_counts_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Semaphore(0)
    batch = recorded(1)[0]
    size = len(batch)
    memory = Memory()
    limits = {"samples_per_insert": 1.0, "min_size": size, "error": 1.0}
    with InsertLimiter(tmp_path / "limit", limits) as limiter:
        sink = limiter.limited(memory)
        sink.write(batch)
        sink.write(batch)  # the balance was 0, and is the size of the batch now
        assert limiter.counts == (2 * size, 0, 0)
        with pytest.raises(StateError, match="limiter: expected a learner to draw within 0 s"):
            limiter.limited(memory, timeout=0).write(batch)
        monkeypatch.setattr(insert_limiter, "raise_pending", looked.release)  # a writer that waits calls it each time it looks
        thread = threading.Thread(target=sink.write, args=(batch,))
        thread.start()
        for _ in range(3):
            assert looked.acquire(timeout=PATIENCE)
        assert len(memory) == 2
        for _ in range(size - 1):
            assert limiter.await_sample(1)
        thread.join(PATIENCE)
        assert len(memory) == 3
        assert sink.waited > 0
        assert limiter.counts == (3 * size, size - 1, 0)


def test_failed_writes_are_not_counted(tmp_path: Path) -> None:
    class Full(Memory):
        def write(self, batch: Any) -> None:
            raise OSError("full")

    with InsertLimiter(tmp_path / "limit", LIMITS) as limiter:
        with pytest.raises(OSError, match="full"):
            limiter.limited(Full()).write(recorded(1)[0])
        assert limiter.counts == (0, 0, 0)


def test_processes_stay_within_both_bounds(tmp_path: Path) -> None:
    with InsertLimiter(tmp_path / "limit", LIMITS) as limiter, process(COLLECTOR, tmp_path / "limit", 3):
        assert held(limiter) == (111, 0, 0)  # the first multiple of 3 above 110
        with process(LEARNER, tmp_path / "limit", 40) as learner:
            assert learner.wait(PATIENCE) == 0
        counts = held(limiter)
        assert counts.sampled == 400
        assert 210 < counts.inserted <= 213  # 4 * (n - 100) - 400 > 40
        assert -40 <= limiter.limits.balance(counts) <= 40 + 4 * 3
    # Without a collector the learner stops at the lower bound.
    with InsertLimiter(tmp_path / "limit") as limiter, process(LEARNER, tmp_path / "limit", 1000):
        counts = starved(limiter)
        assert -40 <= limiter.limits.balance(counts) < -30


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_processes_hold_up_others_only_while_they_are_gone(tmp_path: Path) -> None:
    place = tmp_path / "limit"
    with InsertLimiter(place, LIMITS) as limiter:
        with process(COLLECTOR, place, 2) as first, process(COLLECTOR, place, 2), process(LEARNER, place, 10**6) as learner:
            wait_until(lambda: limiter.counts.sampled > 500)
            os.kill(first.pid, signal.SIGKILL)
            first.wait(PATIENCE)
            before = limiter.counts.sampled
            wait_until(lambda: limiter.counts.sampled > before + 500)  # the other collector goes on
            os.kill(learner.pid, signal.SIGKILL)
            learner.wait(PATIENCE)
            counts = held(limiter)  # the collector waits at the upper bound
            assert 40 < limiter.limits.balance(counts) <= 40 + 4 * 2 * 2
            with process(LEARNER, place, 10**6):
                wait_until(lambda: limiter.counts.sampled > counts.sampled + 500)
        assert limiter.counts.inserted > counts.inserted


def test_collectors_write_what_a_learner_lacks_after_a_loss(tmp_path: Path) -> None:
    with InsertLimiter(tmp_path / "limit", LIMITS) as limiter:
        limiter.count_inserted(200)  # all of them lost on their way
        assert not limiter.await_insert(timeout=0)
        limiter.want(30)
        with process(COLLECTOR, tmp_path / "limit", 20):
            assert held(limiter) == (240, 0, 0)


def test_draws_of_two_learners_are_never_granted_twice(tmp_path: Path) -> None:
    with InsertLimiter(tmp_path / "limit", LIMITS) as limiter:
        limiter.count_inserted(400)  # 1,240 draws are allowed
        with process(LEARNER, tmp_path / "limit", 10**6), process(LEARNER, tmp_path / "limit", 10**6):
            assert starved(limiter) == (400, 1240, 0)
