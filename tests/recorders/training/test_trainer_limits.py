"""Tests that trainers and collectors in other processes keep the limits of samples for each experience."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.datasets import recorded
from support.helpers import PATIENCE, wait_until
from support.redis_server import RedisServer, redis_server

from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.recorders import (
    DistributedTrainer,
    ExperienceLog,
    ExperienceServer,
    InsertLimiter,
    QNetwork,
    ReplayBuffer,
    Retry,
    SubmittingSink,
)

pytest.importorskip("torch")

__all__ = ["redis_server"]  # a fixture

#: Plays without a pause, and records over a limiter: place of the limiter, sink, name of the run.
COLLECTOR = """
import sys
import generals_env
from generals_env.recorders import ExperienceLog, ExperienceRecorder, InsertLimiter
sink = sys.argv[2]
sink = sink if "://" in sink else ExperienceLog(sink)
options = {"height": 5, "width": 5, "max_turns": 30}
with ExperienceRecorder(generals_env.make_vec(4, **options), InsertLimiter(sys.argv[1]).limited(sink), sys.argv[3]) as env:
    env.reset(seed=1)
    while True:
        env.play(5, ("expander", "random"))
        env.flush()
"""

LIMITS = {"samples_per_insert": 2.0, "min_size": 200, "error": 100.0}

SMALL = {"min_size": 100, "batch_size": 20, "seed": 1}


def network() -> QNetwork:
    return QNetwork((9, 5, 5), channels=4, blocks=0)


@contextmanager
def collector(place: Any, sink: Any, run: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", COLLECTOR, str(place), str(sink), run]) as running:
        try:
            yield running
        finally:
            running.kill()


def within(limiter: InsertLimiter, draws: int) -> None:
    """Assert that a learner has drawn so much, and what collectors wrote fits."""
    counts = limiter.counts
    assert counts.sampled == draws
    assert -100 <= limiter.limits.balance(counts) <= 100 + 2 * 500  # beyond it by one batch: of 4 games until ``flush``


@pytest.mark.parametrize("kind", ["grpc", "log"])
def test_collector_process_and_trainer_stay_in_step(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "limit"
    with InsertLimiter(place, LIMITS) as limiter:
        if kind == "grpc":
            source: Any = ReplayBuffer(100_000)
            server = ExperienceServer(source, "127.0.0.1:0").start()
            sink = f"grpc://{server.address}"
        else:
            ExperienceLog(tmp_path / "log").close()
            source = ExperienceLog(tmp_path / "log", mode="r")
            server = ExperienceServer(source, "127.0.0.1:0").start()
            sink = str(tmp_path / "log")
        with server, DistributedTrainer(server.address, network(), config=SMALL, limiter=limiter) as trainer:
            with collector(place, sink, "one") as one:
                trainer.train(50)
                within(limiter, 1000)
                one.kill()
                one.wait(PATIENCE)
            found: list[Any] = []
            thread = threading.Thread(target=lambda: found.append(trainer.train(500)))
            thread.start()
            wait_until(lambda: not limiter.limits.may_sample(limiter.counts, 20))  # no collector writes: the trainer waits
            assert thread.is_alive()
            with collector(place, sink, "two"):
                thread.join(PATIENCE)
            assert found[0]["step"] == 550
            within(limiter, 11_000)
        source.close()


def test_trainer_has_collectors_write_what_was_lost(tmp_path: Path) -> None:
    place = tmp_path / "limit"
    buffer = ReplayBuffer(100_000)
    with InsertLimiter(place, LIMITS) as limiter, ExperienceServer(buffer, "127.0.0.1:0") as server:
        limiter.count_inserted(10_000)  # of a buffer that is gone with its process: collectors may write nothing
        with (
            DistributedTrainer(server.address, network(), config=SMALL, limiter=limiter) as trainer,
            collector(place, f"grpc://{server.address}", "one"),
        ):
            assert trainer.train(5)["step"] == 5
        assert limiter.counts.inserted > 10_000


def test_server_holds_submissions_up_until_a_learner_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generals_env.recorders.stream.server.submissions.BUSY_WAIT", 0.2)
    batches = recorded(10)
    limits = {"samples_per_insert": 1.0, "min_size": 1, "error": 20.0}
    buffer = ReplayBuffer(1000)
    with (
        InsertLimiter(tmp_path / "limit", limits) as limiter,
        ExperienceServer(buffer, "127.0.0.1:0", limiter=limiter) as server,
        SubmittingSink(server.address, retry=Retry(tries=1)) as sink,
    ):
        sink.write(batches[0])
        with pytest.raises(StorageError, match=r"limiter: expected a learner to draw within 0\.2 s"):
            sink.write(batches[1])
        assert limiter.counts == (len(buffer), 0, 0) == (len(batches[0]), 0, 0)
        assert limiter.await_sample(20)
        sink.write(batches[1])
        sink.write(batches[1])  # a repeat is not counted, and does not wait
        assert limiter.counts == (len(buffer), 20, 0) == (len(batches[0]) + len(batches[1]), 20, 0)


def test_trainer_with_limits_ends_with_its_source(tmp_path: Path) -> None:
    batches = recorded(10, height=5, width=5)
    limits = {"samples_per_insert": 1.0, "min_size": 100, "error": 20.0}
    with InsertLimiter(tmp_path / "limit", limits) as limiter:
        limiter.count_inserted(sum(map(len, batches)))
        with (
            DistributedTrainer(batches, network(), config=SMALL, limiter=limiter) as trainer,
            pytest.raises(StateError, match="source: expected more experiences, got the end"),
        ):
            trainer.train(100_000)
        with pytest.raises(ConfigError, match="error: expected at least 32 for draws of 64"):
            DistributedTrainer(batches, network(), config={**SMALL, "batch_size": 64}, limiter=limiter)


def test_counts_in_redis_are_those_of_a_file(tmp_path: Path, redis_server: RedisServer) -> None:
    address = redis_server.address()
    with InsertLimiter(address, LIMITS) as one, InsertLimiter(address) as other, InsertLimiter(tmp_path / "f", LIMITS) as file:
        assert other.limits == one.limits
        for limiter in (one, file):
            limiter.count_inserted(230)
            assert limiter.await_sample(160, timeout=0)
            assert not limiter.await_sample(1, timeout=0)
            limiter.want(7)
        assert one.counts == other.counts == file.counts == (230, 160, 7)
        for limiter in (other, file):
            limiter.count_inserted(5)
            assert limiter.counts.wanted == 2
            limiter.count_inserted(300)
            assert not limiter.await_insert(timeout=0)
        assert one.counts == file.counts == (535, 160, 0)
    with pytest.raises(ConfigError, match="limits: expected those stored"):
        InsertLimiter(address, {**LIMITS, "min_size": 3})
    with pytest.raises(StorageError, match="place: expected stored limits"):
        InsertLimiter(redis_server.address())
