"""Tests rollouts without Ray, and their parts: the buffer of an actor, arrays of an object store, wins of policies."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.helpers import PATIENCE
from support.rollouts import DrawingPolicy, RefusingSink, contents_of_games, ids_of

from generals_env.errors import ConfigError, CopyError, StateError, StorageError
from generals_env.recorders import DevicePolicy, ExperienceBatch, ExperienceLog, QNetwork, ReplayBuffer, open_dataset
from generals_env.recorders.distributed import PolicyPlayer, RolloutPlan, TaskPlayer, rollout
from generals_env.recorders.distributed.ray_actors.buffer_actor import BufferActor
from generals_env.recorders.distributed.ray_actors.rollout_worker import RolloutWorker
from generals_env.recorders.distributed.ray_actors.shared_arrays import writeable_batch

PLAN = RolloutPlan(num_envs=6, turns=40, seed=3, run_id="run", env={"height": 8, "width": 8, "max_turns": 30})


def task(number: int = 0) -> ExperienceBatch:
    buffer = ReplayBuffer(10_000)
    TaskPlayer(PLAN).play(number, buffer)
    batch = buffer.snapshot()
    batch.rows["sequence"] = np.arange(len(batch))
    return batch


CODE = """
import sys
from generals_env.recorders import ReplayBuffer
from generals_env.recorders.distributed import RolloutPlan, rollout
buffer = ReplayBuffer(10_000)
with rollout(0, buffer, tasks=2, num_envs=2, turns=20, seed=1, env={"height": 8, "width": 8}) as games:
    counts = games.wait(progress=True)
print([counts.tasks, counts.turns, len(buffer), "ray" in sys.modules])
"""


class ByArrays:
    """A policy without ``act_on_boards``."""

    def __init__(self, policy: DevicePolicy) -> None:
        self.act, self.reset = policy.act, policy.reset


def test_rollout_here_needs_no_ray_and_shows_a_bar(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ast.literal_eval(done.stdout) == [2, 80, 160, False]


def test_rollout_here_writes_a_dataset_and_yields_results(tmp_path: Path) -> None:
    with rollout(0, tmp_path / "data", plan=PLAN, tasks=3) as games:
        results = list(games)
        assert [result.number for result in results] == [0, 1, 2]
        assert games.processes == []
        assert games.counts().experiences == sum(result.experiences for result in results)
        with pytest.raises(CopyError):
            pickle.dumps(games)
    assert contents_of_games(open_dataset(tmp_path / "data")) == contents_of_games([task(0), task(1), task(2)])


def test_rollout_worker_writes_a_task_to_a_dataset_once(tmp_path: Path) -> None:
    for _ in range(2):  # as after a death between the last file and the answer
        worker = RolloutWorker(PLAN, tmp_path, None, 1_700_000_000.0)
        worker.play(1, [], 0)
        worker.close()
    assert contents_of_games(open_dataset(tmp_path)) == contents_of_games([task(1)])


def test_rollout_without_end_plays_until_it_is_closed() -> None:
    buffer = ReplayBuffer(1000)
    with rollout(0, buffer, plan=PLAN, tasks=None) as games:
        for _, _ in zip(range(3), games, strict=False):
            pass
        assert games.running
        assert games.wait(0.0).tasks >= 3
    assert not games.running
    assert buffer.stats().added == games.counts().experiences


def test_rollout_here_writes_nothing_after_an_interrupt_closes_it() -> None:
    began, buffer = threading.Event(), ReplayBuffer(1000)

    class Sink:
        def write(self, batch: ExperienceBatch) -> None:
            began.set()
            buffer.write(batch)

        def flush(self) -> None: ...

        def close(self) -> None: ...

    def interrupt() -> None:
        assert began.wait(PATIENCE)
        raise KeyboardInterrupt

    endless = replace(PLAN, turns=2**30)
    with pytest.raises(KeyboardInterrupt), rollout(0, Sink(), plan=endless, tasks=None) as games:
        interrupt()
    assert not games.running
    games.close()
    assert games.wait(0).tasks == 0
    with pytest.raises(StateError, match="rollout: expected to write before close"):
        games._gate.before(buffer).write(task())


@pytest.mark.parametrize("seconds", ["x", float("nan"), -1, True])
def test_rollout_refuses_seconds_that_are_no_time(seconds: Any) -> None:
    with rollout(0, ReplayBuffer(100), plan=PLAN) as games:
        for method in (games.wait, games.close):
            with pytest.raises(ConfigError, match="seconds: expected a number of seconds, 0 or more"):
                method(seconds)
        assert games.wait().tasks == 1


def test_rollout_here_raises_what_the_sink_raises() -> None:
    with rollout(0, RefusingSink(), plan=PLAN) as games, pytest.raises(StorageError, match="disk: expected room"):
        games.wait()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"num_workers": -1}, "num_workers: expected"),
        ({"tasks": 0}, "tasks: expected"),
        ({"turn": 5}, "turn"),
        ({"plan": None, "policies": 5}, "policies: expected one for each player"),
        ({"plan": None, "policies": ["random", 5]}, "policies: expected one for each player"),
        ({"plan": None, "env": "height"}, "env: expected options of make_vec"),
        ({"plan": None, "env": {5: 5}}, "env: expected options of make_vec"),
        ({"ray_options": 5}, "ray_options: expected a mapping"),
        ({"turns": 5}, "plan: expected it or its fields"),
        ({"plan": "run"}, "plan: expected a RolloutPlan"),
        ({"make_policy": 5}, "make_policy: expected a function"),
        ({"make_policy": DrawingPolicy}, "name the seats of the policy object"),
    ],
)
def test_rollout_refuses_wrong_arguments(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        rollout(**{"num_workers": 0, "sink": ReplayBuffer(10), "plan": PLAN, **arguments})


@pytest.mark.parametrize("run_id", ["", 5, None, "a/b", "a b", "a\n", "..\\x", "a" * 129, "ä"])
def test_rollout_plan_refuses_run_ids_that_are_no_names(run_id: Any) -> None:
    with pytest.raises(ConfigError, match="run_id: expected text of 1 to 128"):
        RolloutPlan(run_id=run_id)


def test_rollout_plan_has_a_hash() -> None:
    equal = RolloutPlan(**{field.name: getattr(PLAN, field.name) for field in fields(PLAN)})
    assert len({PLAN, equal, replace(PLAN, seed=8), replace(PLAN, env={})}) == 3
    assert RolloutPlan(run_id="A_1.b-" + "c" * 122).run_of(3).endswith("c-000003")


@pytest.mark.parametrize("plan", [5, None, {"turns": 3}])
def test_task_player_refuses_what_is_no_plan(plan: Any) -> None:
    for player in (TaskPlayer, lambda plan: PolicyPlayer(plan, DrawingPolicy())):
        with pytest.raises(ConfigError, match="plan: expected a RolloutPlan"):
            player(plan)


@pytest.mark.parametrize("number", [-1, True, 1.5, "one", None])
def test_task_player_refuses_wrong_numbers_of_tasks(number: Any) -> None:
    buffer = ReplayBuffer(100)
    with pytest.raises(ConfigError, match="number: expected an integer from 0"):
        TaskPlayer(PLAN).play(number, buffer)
    assert len(buffer) == 0


def test_policy_player_counts_games_and_wins_and_records_versions() -> None:
    plan = RolloutPlan(30, 150, ("policy", "expander"), seed=1, env={"height": 6, "width": 6, "max_turns": 100})
    buffer = ReplayBuffer(100_000)
    result = PolicyPlayer(plan, DrawingPolicy()).play(0, buffer)
    batch = buffer.snapshot()
    ended = (batch.terminated | batch.truncated) & (batch.player_id == 0)
    won = batch.terminated & (batch.reward >= 0.9)
    assert (result.turns, result.experiences, result.games) == (4500, len(batch), ended.sum())
    assert result.wins == (int((won & (batch.player_id == 0)).sum()), int((won & (batch.player_id == 1)).sum()))
    assert result.wins[1] > 0, "games were won"
    assert batch.metadata["policies"] == ["policy", "expander"]
    assert batch.metadata["policy_versions"] == [7, None]
    with pytest.raises(ConfigError, match="policies: expected 'policy'"):
        PolicyPlayer(PLAN, DrawingPolicy())
    with pytest.raises(ConfigError, match="policy: expected an object with act"):
        PolicyPlayer(plan, object())  # type: ignore[arg-type]


@pytest.mark.parametrize("policies", [("policy", "policy"), ("expander", "policy")])
def test_policy_player_gives_a_network_packed_boards(policies: tuple[str, str]) -> None:
    plan = RolloutPlan(3, 20, policies, seed=1, env={"height": 6, "width": 6})
    torch.manual_seed(1)
    policy = DevicePolicy(QNetwork((9, 6, 6), channels=4, blocks=1))
    both = []
    for chosen in (policy, ByArrays(policy)):
        buffer = ReplayBuffer(1000)
        PolicyPlayer(plan, chosen).play(2, buffer)
        both.append(buffer.snapshot())
    assert len(both[0]) == 120
    assert both[0].action.tolist() == both[1].action.tolist()
    assert ids_of(both[0]) == ids_of(both[1])


def stored(actor: BufferActor) -> list[str]:
    _, batch, _ = actor.read("", 0, 10_000, 0.0, None)
    return [] if batch is None else ids_of(batch)


def test_buffer_actor_drops_repeats_in_any_order_and_nothing_else() -> None:
    batch, actor = task(), BufferActor(10_000, False, {}, None, {})
    for low, high in ((80, 160), (0, 80), (40, 200), (0, 200)):
        actor.write(batch.slice(low, high))
    ids = ids_of(batch)
    assert stored(actor) == [*ids[80:160], *ids[:80], *ids[160:200]]
    assert actor.stats()[1] == 120 + 200
    anew = batch.slice(200, 300).compact()
    anew.rows["sequence"] = np.arange(100)  # as a log numbers it, the name of the run stays
    actor.write(anew)
    assert stored(actor)[200:] == ids[200:300]
    nameless = ExperienceBatch(batch.game_ids, batch.rows[:5], batch.boards, batch.shape)
    sample = batch.select(np.arange(40)[::-1])
    for part in (nameless, nameless, sample, sample):  # these may hold an experience twice on purpose
        actor.write(part)
    assert len(stored(actor)) == 300 + 90


def test_buffer_actor_drops_no_batch_that_was_not_stored() -> None:
    batch, actor = task(), BufferActor(100, False, {"overflow": "raise"}, None, {})
    actor.write(batch.slice(0, 60))
    with pytest.raises(StateError, match="write: expected room"):
        actor.write(batch.slice(0, 120))
    actor.write(batch.slice(0, 90))
    assert stored(actor) == ids_of(batch)[:90]


def test_buffer_actor_knows_repeats_of_its_log_after_a_restart(tmp_path: Path) -> None:
    batch, options = task(), {"durability": "normal", "min_free_bytes": 0}
    actor = BufferActor(100, False, {}, tmp_path, options)
    for low, high in ((80, 240), (0, 80)):
        actor.write(batch.slice(low, high))
    actor.close()
    again = BufferActor(100, False, {}, tmp_path, options)
    again.write(batch.slice(0, 300))
    stats, repeats, reloaded = again.stats()
    assert (repeats, stats.size) == (240, 100), "also of those that the buffer has no room for"
    assert reloaded < 300
    again.finish()
    with pytest.raises(StateError, match="write: expected an open buffer"):
        again.write(batch)
    again.close()
    with ExperienceLog(tmp_path, mode="r") as log:
        assert sorted(one for part in log.read() for one in ids_of(part)) == sorted(ids_of(batch)[:300])


def test_batches_travel_as_arrays_that_kernels_take_without_a_copy() -> None:
    batch = task()
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(batch, 5, buffer_callback=buffers.append)
    assert sum(len(buffer.raw()) for buffer in buffers) == batch.nbytes
    assert len(data) < 0.1 * batch.nbytes, "all else is small"
    kept = [bytes(buffer.raw()) for buffer in buffers]  # read-only, as in an object store
    arrived = pickle.loads(data, buffers=kept)
    assert not arrived.rows.flags.writeable
    usable = writeable_batch(arrived)
    assert usable.rows.flags.writeable
    assert usable.rows.ctypes.data == arrived.rows.ctypes.data, "no copy"
    assert writeable_batch(batch).rows is batch.rows
    del arrived, kept
    assert contents_of_games([usable]) == contents_of_games([batch])
