"""Tests rollouts on worker actors of Ray: equal to one process, with deaths of workers and of the buffer, and without end."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import rollouts
from support.ray_session import ray_session
from support.rollouts import DrawingPolicy, RefusingSink, contents_of_games, ids_of

import generals_env
from generals_env.errors import ConfigError, OptionError, StateError, StorageError
from generals_env.recorders import ExperienceBatch, ExperienceLog, ExperienceRecorder, ReplayBuffer, open_dataset
from generals_env.recorders.distributed import PolicyPlayer, RayBuffer, RolloutPlan, rollout

ray = pytest.importorskip("ray", reason='ray is not installed: pip install "generals_env[ray]"')

__all__ = ["ray_session"]

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import test modules
ray.cloudpickle.register_pickle_by_value(rollouts)

pytestmark = pytest.mark.usefixtures("ray_session")

PLAN = RolloutPlan(
    num_envs=8, turns=60, policies=("expander", "random"), seed=5, run_id="run", env={"height": 8, "width": 8, "max_turns": 50}
)


@pytest.fixture(scope="module")
def played_here() -> ReplayBuffer:
    buffer = ReplayBuffer(100_000)
    with rollout(0, buffer, plan=PLAN, tasks=6) as games:
        assert games.wait().experiences == len(buffer)
    return buffer


def kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)


def test_rollout_of_three_workers_equals_one_process_and_one_environment(played_here: ReplayBuffer) -> None:
    with RayBuffer(100_000, prioritized=True, seed=1) as buffer:
        with rollout(3, buffer, plan=PLAN, tasks=6) as games:
            numbers = [result.number for result in games]
            counts = games.wait()
            assert len(set(games.processes)) == 3 if games.running else True
        assert sorted(numbers) == list(range(6)), "each task is over once"
        found = list(buffer.batches(500, follow=False))
        assert contents_of_games(found) == contents_of_games([played_here.snapshot()])
        one = ReplayBuffer(100_000)
        with ExperienceRecorder(generals_env.make_vec(48, **PLAN.env), one) as env:
            env.reset(seed=5)
            together = env.play(60, PLAN.policies)
        assert contents_of_games(found, named=False) == contents_of_games([one.snapshot()], named=False)
        assert (counts.turns, counts.games, counts.wins) == (together.turns, together.games, together.wins)
        assert counts.experiences == len(one) == len(buffer)

        drawn = buffer.sample(64, n_step=3)  # prioritized
        assert len(drawn.batch) == 64
        assert np.isfinite(drawn.batch.tensors().states).all(), "kernels take the arrays"
        assert buffer.update_priorities(drawn.keys, np.ones(64)) == 0
        assert len({len(next(buffer.samples(32)).batch) for _ in range(3)}) == 1
        with pytest.raises(ConfigError, match="n: expected"):
            buffer.sample(0)
        with rollout(1, buffer, plan=PLAN, tasks=2) as again:
            again.wait()
        stats = buffer.stats()
        assert (stats.repeats, stats.buffer.size) == (len(one) // 3, len(one)), "what is sent again is dropped"


def test_rollout_survives_deaths_of_a_worker_and_of_the_buffer(played_here: ReplayBuffer, tmp_path: Path) -> None:
    options = {"durability": "normal", "min_free_bytes": 0}
    with RayBuffer(100_000, log=tmp_path / "log", log_options=options, name="kept") as buffer:
        with rollout(2, buffer, plan=PLAN, tasks=6) as games:
            kill(games.processes[0])
            next(iter(games))
            kill(buffer.process())
            assert games.wait().tasks == 6
            assert games.counts().deaths == 1
        stats = RayBuffer.find("kept").stats()
        assert stats.reloaded > 0, "the new actor has read the log"
        found = list(buffer.batches(1000, follow=False))
        assert [batch.sequence[0] for batch in found] == list(range(0, len(buffer), 1000)), "numbers are those of the log"
        assert contents_of_games(found) == contents_of_games([played_here.snapshot()])
    with ExperienceLog(tmp_path / "log", mode="r") as log:
        logged = [one for batch in log.read() for one in ids_of(batch)]
    assert len(logged) == len(set(logged)) == len(played_here), "nothing is lost, nothing is there twice"


def test_rollout_plays_by_a_policy_into_a_dataset_despite_a_death(tmp_path: Path) -> None:
    plan = RolloutPlan(4, 30, ("policy", "expander"), seed=2, run_id="run", env={"height": 8, "width": 8})
    torch = pytest.importorskip("torch")
    expected: Counter[str] = Counter()
    tasks_of = {}
    with rollout(1, tmp_path / "workers", plan=plan, tasks=4, make_policy=DrawingPolicy) as games:
        for _ in games:
            if games.set_weights({"last": torch.ones(1)}) == 1:  # for the tasks that begin from now on
                kill(games.processes[0])
        assert games.counts().deaths == 1
    batches = list(open_dataset(tmp_path / "workers"))
    for version in (7, 1):  # the policy's own version, and the first one that was set
        runs = {run for run, at in versions_of_runs(batches) if at == version or (version == 1 and at != 7)}
        tasks_of[version] = sorted(int(run.rpartition("-")[2]) for run in runs)
        player = PolicyPlayer(plan, DrawingPolicy())
        if version == 1:
            player.set_weights({"last": 1}, 1)
        buffer = ReplayBuffer(10_000)
        for number in tasks_of[version]:
            player.play(number, buffer)
        expected += contents_of_games([buffer.snapshot()])
    assert sorted(tasks_of[7] + tasks_of[1]) == [0, 1, 2, 3], "each task is there once, with one version"
    assert 3 in tasks_of[1]
    assert contents_of_games(batches) == expected


def versions_of_runs(batches: list[ExperienceBatch]) -> set[tuple[str, int]]:
    """Return the runs with the versions that their metadata name."""
    return {(batch.metadata["run"], batch.metadata["policy_versions"][0]) for batch in batches}


def test_rollout_without_end_waits_for_the_learner_until_it_is_closed() -> None:
    with RayBuffer(3000, overflow="block") as buffer:
        with rollout(1, buffer, plan=PLAN, tasks=None) as games:
            found = []
            for batch in buffer.batches(500, reader="learner"):
                found.append(batch)
                if len(found) == 30:
                    break
            assert games.running
            assert buffer.stats().buffer.size <= 3000
            buffer.finish()
        read = np.concatenate([batch.sequence for batch in found])
        assert np.array_equal(read, np.arange(len(read))), "nothing was dropped before it was read"


def test_rollout_raises_what_a_worker_raises() -> None:
    with rollout(1, RefusingSink, plan=PLAN) as games:
        with pytest.raises(StorageError, match="disk: expected room, got none"):
            games.wait()
        with pytest.raises(StorageError, match="disk: expected room"):
            list(games)


def test_ray_buffer_raises_what_its_actor_raises(played_here: ReplayBuffer) -> None:
    batch = played_here.snapshot()
    with RayBuffer(100, overflow="raise", name="full") as buffer:
        copy = pickle.loads(pickle.dumps(buffer))
        copy.write(batch)
        with pytest.raises(StateError, match="write: expected room"):
            copy.flush()
        assert copy.waiting == len(batch), "it is sent again"
        with pytest.raises(StateError, match="write: expected room"):
            copy.write(batch)
        with pytest.raises(ConfigError, match="batch: expected an ExperienceBatch"):
            buffer.write(None)  # type: ignore[arg-type]
        with pytest.raises(StateError, match="sample: expected experiences"):
            buffer.sample(1)
        with pytest.raises(ConfigError, match="out: expected no arrays"):
            buffer.sample(1, out=batch)
        with pytest.raises(StateError, match="update_priorities: expected a prioritized"):
            buffer.update_priorities(np.zeros(1, np.int64), np.ones(1))
    with pytest.raises(StateError, match="buffer: expected its actor to run"):
        buffer.sample(1)


def test_ray_buffer_takes_nothing_after_close(played_here: ReplayBuffer) -> None:
    batch = played_here.snapshot()
    with RayBuffer(1000, name="one") as buffer:
        handle = RayBuffer.find("one")
        for _ in range(2):
            handle.close()
            with pytest.raises(StateError, match="write: expected an open buffer"):
                handle.write(batch)
        for options, name in (({"bogus": 1}, "bogus"), ({"beta": 1.0}, "beta")):
            with pytest.raises(OptionError, match=f"unexpected keyword argument {name!r}"):
                buffer.sample(3, **options)
        with pytest.raises(ConfigError, match="name: expected one that no running buffer has"):
            RayBuffer(10, name="one")
        buffer.write(batch.slice(0, 10))
    for _ in range(2):
        buffer.close()
        with pytest.raises(StateError, match="write: expected an open buffer"):
            buffer.write(batch)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"ray_options": 5}, "ray_options"),
        ({"ray_options": {"bogus": 1}}, "ray_options"),
        ({"ray_options": {"num_cpus": "two"}}, "ray_options"),
        ({"ray_options": {"name": 5}}, "ray_options"),
        ({"name": 5}, "name"),
        ({"name": ""}, "name"),
        ({"log": 5}, "log"),
        ({"log_options": 5}, "log_options"),
        ({"log_options": {"bogus": 1}}, r"ExperienceLog\(\) got an unexpected keyword argument 'bogus'"),
        ({"bogus": 1}, r"RayBuffer\(\) got an unexpected keyword argument 'bogus'"),
        ({"alpha": 1.0}, r"RayBuffer\(\) got an unexpected keyword argument 'alpha'"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_ray_buffer_refuses_wrong_arguments(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}"):
        RayBuffer(10, **arguments)


def test_ray_buffer_checks_arguments_before_it_asks_its_actor() -> None:
    handle = RayBuffer.__new__(RayBuffer)  # without an actor
    for call, name in (
        (lambda: RayBuffer.find(5), "name"),  # type: ignore[arg-type]
        (lambda: handle.samples("x"), "n"),  # type: ignore[arg-type]
        (lambda: handle.samples(3, bogus=1), "RayBuffer|sample"),
        (lambda: handle.sample("x"), "n"),  # type: ignore[arg-type]
        (lambda: handle.batches(10, reader=5), "reader"),  # type: ignore[arg-type]
        (lambda: handle.batches(10, follow="x"), "follow"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match=f"^({name})"):
            call()


def test_rollout_refuses_sinks_that_stay_in_this_process() -> None:
    with pytest.raises(ConfigError, match="sink: expected a RayBuffer"):
        rollout(2, ReplayBuffer(100), plan=PLAN)
    for wrong in (5, {"num_cpus": "two"}, {"wheels": 4}):
        with pytest.raises(ConfigError, match="ray_options"):
            rollout(2, "runs", plan=PLAN, ray_options=wrong)  # type: ignore[arg-type]
    with pytest.raises(StateError, match="name: expected a running buffer"):
        RayBuffer.find("unknown")
    with pytest.raises(ConfigError, match="log: expected a buffer that takes all"):
        RayBuffer(100, log="log", overflow="block")
    with pytest.raises(StorageError, match="folder: expected one that can be made"):
        RayBuffer(100, log="/proc/none")
