"""An environment belongs to one thread at a time, and what is meant for several threads may be shared by them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.helpers import Memory, check_batches
from support.recorded import record_game

import generals_env
from generals_env.concurrency.guard import Guard
from generals_env.errors import StateError
from generals_env.recorders import (
    DatasetWriter,
    DeduplicatingSink,
    ExperienceLog,
    ExperienceRecorder,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SpillBuffer,
    open_dataset,
)

SMALL: dict[str, Any] = {"height": 5, "width": 5}

#: As a last resort, seconds.
LONG = 60


class Gate(Memory):
    """A sink and a collector that keep the first who comes until they are told to let him go on."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.opened = threading.Event(), threading.Event()

    def wait(self, *arguments: Any) -> None:
        self.inside.set()
        assert self.opened.wait(LONG)

    on_state_transition = wait

    def on_batch_state_transition(self, transitions: Any) -> None: ...

    def on_game_end(self) -> None: ...

    def __call__(self, views: Any) -> Any:
        """Pass, as an opponent."""
        self.wait()
        return np.full(len(views["action_mask"]), views["action_mask"].shape[1] - 1)

    def flush(self) -> None:
        self.wait()


def vector(gate: Gate) -> Any:
    env = ExperienceRecorder(generals_env.make_vec(2, **SMALL), gate)
    env.reset(seed=1)
    return env


def one_player(gate: Gate, **options: Any) -> Any:
    env: Any = gymnasium.make("generals_env/Generals-v0", opponent=gate, disable_env_checker=True, **SMALL)
    env.reset(seed=1)
    return env


def many_of_one_player(gate: Gate) -> Any:
    env: Any = gymnasium.make_vec("generals_env/Generals-v0", 2, opponent=gate, **SMALL)
    env.reset(seed=1)
    return env


def sb3(gate: Gate) -> Any:
    pytest.importorskip("stable_baselines3")
    from generals_env.wrappers import SB3VecEnv

    env = SB3VecEnv(many_of_one_player(gate))
    env.reset()
    return env


def turn_based(gate: Gate) -> Any:
    env: Any = generals_env.make(**SMALL)
    env.reset(seed=1)
    env.unwrapped.add_collector(gate)
    env.step(0)
    return env


def parallel(gate: Gate) -> Any:
    env: Any = generals_env.parallel_env(**SMALL)
    env.unwrapped.add_collector(gate)
    env.reset(seed=1)
    return env


MOVES: dict[str, tuple[Callable[[Gate], Any], Callable[[Any], Any], dict[str, Callable[[Any], Any]]]] = {
    "vector": (
        vector,
        lambda env: env.flush(),
        {
            "step": lambda env: env.step(np.zeros((2, 2), np.int64)),
            "play": lambda env: env.play(1, ("random", "random")),
            "act": lambda env: env.act(("random", "random")),
            "reset": lambda env: env.reset(),
            "flush": lambda env: env.flush(),
            "close": lambda env: env.close(),
        },
    ),
    "one player": (
        one_player,
        lambda env: env.step(0),
        {"step": lambda env: env.step(0), "reset": lambda env: env.reset()},
    ),
    "many of one player": (
        many_of_one_player,
        lambda env: env.step(np.zeros(2, np.int64)),
        {"step": lambda env: env.step(np.zeros(2, np.int64)), "reset": lambda env: env.reset()},
    ),
    "SB3": (
        sb3,
        lambda env: env.step(np.zeros(2, np.int64)),
        {"step_wait": lambda env: env.step(np.zeros(2, np.int64)), "reset": lambda env: env.reset()},
    ),
    "AEC": (turn_based, lambda env: env.step(0), {"step": lambda env: env.step(0), "reset": lambda env: env.reset()}),
    "parallel": (
        parallel,
        lambda env: env.step(dict.fromkeys(env.agents, 0)),
        {"step": lambda env: env.step(dict.fromkeys(env.agents, 0)), "reset": lambda env: env.reset()},
    ),
}


@pytest.mark.parametrize("kind", MOVES)
def test_environment_refuses_a_second_thread_while_one_is_inside(kind: str) -> None:
    gate = Gate()
    start, first, others = MOVES[kind]
    env = start(gate)
    with ThreadPoolExecutor(1) as pool:
        inside = pool.submit(first, env)
        assert gate.inside.wait(LONG)
        try:
            for name, call in others.items():
                with pytest.raises(StateError, match=f"^{name}: expected no other thread inside the environment"):
                    call(env)
        finally:
            gate.opened.set()
        inside.result()
    for name, call in others.items():  # one after the other they may come
        if name not in ("step_wait", "close"):
            call(env)


def test_threads_may_take_turns_on_one_recorded_environment() -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(generals_env.make_vec(3, **SMALL), batches)
    env.reset(seed=1)
    for _ in range(5):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(env.play, 3, ("random", "random")).result()
        env.step(env.act(("random", "random")))
    env.close()
    assert check_batches(batches) == 3 * 2 * 5 * 4


def test_opponent_may_look_at_the_games_that_it_plays_in() -> None:
    looks: list[Any] = []

    def look(views: Any) -> Any:
        looks.append((env.state(), env.boards(), env.action_masks()))
        return np.full(len(views["action_mask"]), views["action_mask"].shape[1] - 1)

    env: Any = gymnasium.make_vec("generals_env/Generals-v0", 2, opponent=look, **SMALL)
    env.reset(seed=1)
    env.step(np.zeros(2, np.int64))
    assert len(looks) == 1


def test_guard_is_let_go_of_after_an_error() -> None:
    guard = Guard()
    with pytest.raises(ZeroDivisionError), guard("step"):
        raise ZeroDivisionError
    assert guard.thread == 0


# --- What may be shared ---------------------------------------------------------------------------------------------------


def test_threads_may_share_buffers_logs_and_writers(tmp_path: Path) -> None:
    games = [record_game(seed, height=5, width=5, max_turns=20, name=f"game-{seed}") for seed in range(12)]
    count = sum(map(len, games))
    buffer, spill = ReplayBuffer(count), SpillBuffer(tmp_path / "spill", max_bytes=100_000)
    log, writer = ExperienceLog(tmp_path / "log"), DatasetWriter(tmp_path / "dataset")
    kept = ReplayBuffer(count)
    prioritized, deduplicating = PrioritizedReplayBuffer(count), DeduplicatingSink(kept)
    sinks: tuple[Any, ...] = (buffer, spill, log, writer, prioritized, deduplicating)

    def give(part: int) -> None:
        for game in games[part::3]:
            for sink in sinks:
                sink.write(game)
            if len(buffer):
                buffer.sample(2)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(give, range(3)))
    writer.close()
    assert len(buffer) == len(spill) == len(prioritized) == len(kept) == count
    assert sum(map(len, log.read())) == count
    assert sum(map(len, open_dataset(tmp_path / "dataset"))) == count
    spill.close()
    log.close()
