"""Kills one of three workers and a buffer at random, 20 times, and checks that each acknowledged experience is stored once."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from functools import partial
from os import kill
from pathlib import Path

import pytest
from support import killed_runs
from support.helpers import wait_until
from support.killed_runs import InPieces, played_here, repeated_in
from support.ray_session import ray_session
from support.rollouts import contents_of_games

from generals_env.recorders import ExperienceLog
from generals_env.recorders.distributed import RayBuffer, RolloutPlan, rollout
from generals_env.recorders.experience.sink import Sink

ray = pytest.importorskip("ray", reason='ray is not installed: pip install "generals_env[ray]"')

__all__ = ["ray_session"]

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import test modules
ray.cloudpickle.register_pickle_by_value(killed_runs)

pytestmark = pytest.mark.usefixtures("ray_session")

PLAN = RolloutPlan(2, 25, ("expander", "random"), seed=3, run_id="run", env={"height": 6, "width": 6})


def in_pieces(name: str) -> Sink:
    """Open a buffer in a worker."""
    return InPieces(RayBuffer.find(name), 5, 0.01)


def test_ray_run_of_four_processes_survives_random_kills(tmp_path: Path) -> None:
    options = {"durability": "normal", "min_free_bytes": 0}
    rng, killed = random.Random(1), Counter[str]()
    with RayBuffer(1_000_000, log=tmp_path / "log", log_options=options, name="killed") as buffer:
        with rollout(3, partial(in_pieces, "killed"), plan=PLAN, tasks=None) as games:
            for _ in range(20):
                time.sleep(rng.uniform(0.0, 0.3))
                victim = rng.randrange(4)
                if victim < 3:
                    process = games.processes[victim]
                    kill(process, signal.SIGKILL)
                    killed["worker"] += 1
                    wait_until(
                        lambda at=victim, dead=process: games.processes[at] != dead or not games.running
                    )  # it is replaced
                else:
                    kill(buffer.process(), signal.SIGKILL)
                    killed["buffer"] += 1
                over = games.counts().tasks
                # A task whose workers die ten times is taken for the cause: so some are played before the next death.
                wait_until(lambda before=over: games.counts().tasks >= before + 4 or not games.running)
                games.wait(0)  # raises what has ended it
            assert games.counts().deaths == killed["worker"]
        tasks = [result.number for result in games]
    assert len(killed) == 2
    assert len(tasks) == len(set(tasks))
    assert repeated_in(tmp_path / "log") == 0
    with ExperienceLog(tmp_path / "log", mode="r") as log:
        assert contents_of_games(log.read()) == played_here(PLAN, tasks)
