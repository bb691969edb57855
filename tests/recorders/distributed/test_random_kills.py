"""Kills one process of four at random, 20 times, and checks that each acknowledged experience is stored, and stored once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.helpers import wait_until
from support.killed_runs import Killable, Nursery, acknowledged, consume, kill_at_random, played_here, produce, repeated_in
from support.redis_server import RedisServer
from support.rollouts import contents_of_games

from generals_env.recorders import ExperienceLog
from generals_env.recorders.distributed import RolloutPlan

PLAN = RolloutPlan(4, 50, ("expander", "random"), seed=3, run_id="run", env={"height": 6, "width": 6, "threads": 1})


@pytest.fixture
def strict_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a server that writes what it acknowledges; with ``everysec`` a kill loses what waits for the disk's fsync."""
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis", "--appendfsync", "always")
    yield server
    server.client.close()
    server.kill()


def check_log(folder: Path, tasks: list[int]) -> None:
    """Check that a log has each experience of these tasks once, and no other."""
    assert len(tasks) == len(set(tasks)) >= 10
    assert repeated_in(folder) == 0
    with ExperienceLog(folder, mode="r") as log:
        assert contents_of_games(log.read()) == played_here(PLAN, tasks)


def test_redis_run_of_four_processes_survives_random_kills(strict_redis: RedisServer, tmp_path: Path) -> None:
    address = strict_redis.address("killed")
    with Nursery(PLAN) as nursery:
        one, other = (Killable(nursery, produce, address, PLAN, place, tmp_path) for place in range(2))
        consumer = Killable(nursery, consume, f"{address}&group=g&consumer=c", tmp_path)
        parts = {"one": one, "other": other, "consumer": consumer, "server": strict_redis}
        killed = kill_at_random(parts, random.Random(1))
        assert len(killed) == 4, "each one died"
        wait_until(lambda: len(acknowledged(tmp_path)) >= 10)
        (tmp_path / "stop").touch()
        assert (one.ended(), other.ended()) == (0, 0)
        (tmp_path / "all written").touch()
        assert consumer.ended() == 0
    check_log(tmp_path / "log", acknowledged(tmp_path))
