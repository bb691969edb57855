"""Tests a policy that an actor of Ray evaluates for several processes: equal to a local one, in batches, and after a death."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import PATIENCE
from support.paths import ROOT
from support.ray_session import ray_session

import generals_env
from generals_env.errors import ConfigError, StateError, StorageError

ray = pytest.importorskip("ray")
torch = pytest.importorskip("torch")

from generals_env.recorders import DevicePolicy, QNetwork  # noqa: E402
from generals_env.recorders.distributed import SharedPolicy  # noqa: E402

__all__ = ["ray_session"]

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import test modules

pytestmark = pytest.mark.usefixtures("ray_session")

SMALL = {"height": 8, "width": 8}
CALLERS = 2


def network(seed: int = 1) -> QNetwork:
    torch.manual_seed(seed)
    return QNetwork((9, 8, 8), 8, 1)


@pytest.fixture(scope="module")
def actor(ray_session: None) -> Iterator[SharedPolicy]:
    with SharedPolicy(functools.partial(DevicePolicy, network()), num_cpus=1) as policy:
        yield policy


@pytest.fixture
def shared(actor: SharedPolicy) -> SharedPolicy:
    actor.set_weights(network().state_dict())
    actor.reset(3)
    return actor


def games(seed: int = 1) -> generals_env.GeneralsVector:
    env = generals_env.make_vec(16, **SMALL)
    env.reset(seed=seed)
    env.play(60, ("expander", "expander"))
    return env


def played(policy: Any, seed: int, turns: int) -> np.ndarray:
    """Return the boards after some turns that a policy played for both players."""
    env = generals_env.make_vec(16, **SMALL)
    env.reset(seed=seed)
    policy.reset(seed)
    for _ in range(turns):
        *_, infos = env.step(policy.act_on_boards(env.packed()))
        assert not infos["illegal_action"].any()
    return env.state()


def process_of(shared: SharedPolicy) -> int:
    """Return the id of the process of the actor."""
    found: int = ray.get(shared._actor.__ray_call__.remote(lambda _: os.getpid()))
    return found


def test_shared_policy_plays_as_a_local_one_for_all_callers(shared: SharedPolicy) -> None:
    local = DevicePolicy(network(), seed=3)
    env = games()
    views = env.observe()
    for _ in range(2):
        assert np.array_equal(shared.act_on_boards(env.packed()), local.act_on_boards(env.packed()))
        seen = views["observation"], views["action_mask"]
        assert np.array_equal(shared.act(*seen), local.act(*seen))
    play = ray.remote(num_cpus=1)(played)
    results = ray.get([play.remote(shared, seed, 15) for seed in range(CALLERS)])
    for seed, state in enumerate(results):
        assert np.array_equal(state, played(local, seed, 15))


def set_batches(shared: SharedPolicy, states: int, seconds: float) -> None:
    """Let the batches of the actor be full with some states, and wait for them so long."""
    change = {"_max_batch": states, "_max_wait": seconds}
    ray.get(shared._actor.__ray_call__.remote(lambda server: server.__dict__.update(change)))


def test_calls_that_wait_together_are_one_batch(shared: SharedPolicy) -> None:
    env = games()
    views = [env.packed()[:size] for size in (1, 2, 3, 4)]
    numbers = [np.random.default_rng(size).random(part.board.size, np.float32) for size, part in enumerate(views)]
    local, ask = DevicePolicy(network()), shared._actor.evaluate.remote
    set_batches(shared, 20, PATIENCE)
    # The batch is full with the last call, so all four calls are in it, whenever they arrive.
    answers = ray.get([ask(part, some, 0) for part, some in zip(views, numbers, strict=True)])
    for (actions, version), part, some in zip(answers, views, numbers, strict=True):
        assert version == shared.version
        assert np.array_equal(actions, local.evaluate([part], some)[0])
    wrong = ask(views[1], np.zeros(3, np.float32), 0)  # a number is missing
    right = ask(env.packed()[:8], np.zeros(16, np.float32), 0)
    assert len(ray.get(right)[0]) == 8
    with pytest.raises(ConfigError, match=r"numbers: expected 4, one for each state that is drawn, got 3"):
        ray.get(wrong)
    assert shared.batch_sizes()[-2:] == [20, 20]
    set_batches(shared, 8192, 0)


def test_policy_outlives_its_process_with_its_weights(shared: SharedPolicy) -> None:
    newer, env = network(2), games()
    version = shared.set_weights(newer.state_dict())
    assert shared.version == version >= 1
    local = DevicePolicy(newer, seed=3)
    copy = ray.get(ray.put(shared))  # a caller that has seen these weights
    assert np.array_equal(shared.act_on_boards(env.packed()), local.act_on_boards(env.packed()))
    results: list[np.ndarray] = []
    thread = threading.Thread(target=lambda: results.append(played(copy, 5, 30)))
    thread.start()
    os.kill(process_of(shared), signal.SIGKILL)
    thread.join()
    assert np.array_equal(results[0], played(local, 5, 30))
    assert copy.version == version
    assert shared.set_weights(newer.state_dict()) == version + 1
    assert np.array_equal(played(copy, 6, 2), played(local, 6, 2))
    assert copy.version == version + 1  # seen with its own calls


def test_snippets_of_the_docs_that_need_ray_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    blocks = [code for code in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "import ray\n" in code]
    assert len(blocks) >= 2
    for code in blocks:
        exec(compile(code, "snippet", "exec"), {"__name__": "__main__"})
    assert "weights 1" in capsys.readouterr().out


def wrong_calls(policy: Any) -> Iterator[tuple[Any, str]]:
    """Yield calls with arguments of wrong types, with the names of these arguments."""
    states, masks = np.zeros((2, 9, 8, 8), np.float32), np.ones((2, 513), np.int8)
    for wrong in (5, None, "x", [states], np.float32(1), states.astype(object)):
        yield functools.partial(policy.act, wrong, masks), "observations"
        yield functools.partial(policy.act_on_boards, wrong), "views"
    for wrong in (5, None, np.int8(1), masks.astype(str), masks[:1]):
        yield functools.partial(policy.act, states, wrong), "masks"
    for wrong in (5, None, "x", [masks], {"a": 5}, {5: torch.ones(1)}):
        yield functools.partial(policy.set_weights, wrong), "weights"


def test_device_policy_refuses_arguments_of_wrong_types() -> None:
    for call, name in wrong_calls(DevicePolicy(network())):
        with pytest.raises(ConfigError, match=f"^{name}: expected"):
            call()


class FailingPolicy:
    """A policy that raises what each call asks for, by the number of its states."""

    temperature, version = 0.0, 0

    def evaluate(self, parts: Any, numbers: Any) -> list[np.ndarray]:
        states = sum(len(masks) for _, masks in parts)
        if states == 4:
            return []
        raise {1: StorageError("disk: expected room, got none"), 2: KeyError("two"), 3: StopIteration(3)}[states]


def test_shared_policy_raises_what_its_policy_raises(ray_session: None) -> None:
    def ask(states: int) -> None:
        policy.act(np.zeros((states, 9, 8, 8), np.float32), np.ones((states, 513), np.int8))

    with SharedPolicy(FailingPolicy) as policy:
        with pytest.raises(StorageError, match=r"^disk: expected room, got none"):
            ask(1)
        for states, text in ((2, r"KeyError\('two'\)"), (3, "StopIteration"), (4, "expected actions for 1 calls")):
            with pytest.raises(StateError, match=f"^evaluate: expected an answer of the policy, got an error of it: .*{text}"):
                ask(states)


def test_shared_policy_tells_what_is_wrong(shared: SharedPolicy) -> None:
    with pytest.raises(ConfigError, match=r"^weights: expected those of the network of the policy"):
        shared.set_weights(QNetwork((9, 8, 8), 16, 1).state_dict())
    for options, name in (({"max_batch": 0}, "max_batch"), ({"max_wait": -1}, "max_wait"), ({"patience": "a"}, "patience")):
        with pytest.raises(ConfigError, match=f"^{name}: "):
            SharedPolicy(lambda: None, **options)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match=r"^make: expected a function"):
        SharedPolicy(3)  # type: ignore[arg-type]
    with pytest.raises(
        StateError, match=r"^SharedPolicy: expected its actor within 0 s, got none: does the cluster have .*1000"
    ):
        SharedPolicy(functools.partial(DevicePolicy, network()), patience=0, num_cpus=1000)
    not_sent = functools.partial(DevicePolicy, threading.Lock())  # type: ignore[arg-type]
    for make, options in ((int, {}), (lambda: 1 / 0, {}), (int, {"wheels": 4}), (not_sent, {})):
        with pytest.raises(ConfigError, match=r"^make"):
            SharedPolicy(make, **options)  # type: ignore[arg-type]
    for call, name in wrong_calls(shared):
        with pytest.raises(ConfigError, match=f"^{name}: expected"):
            call()
    for seed in (-1, True, "one"):
        with pytest.raises(ConfigError, match=r"^seed: expected an integer"):
            shared.reset(seed)  # type: ignore[arg-type]
    ray.get(ray.put(shared)).close()  # a copy does not end the actor
    assert shared.act_on_boards(games().packed()).shape == (16, 2)
    shared.close()
    with pytest.raises(StateError, match=r"^evaluate: expected the actor of the policy, got none"):
        shared.act_on_boards(games().packed())
