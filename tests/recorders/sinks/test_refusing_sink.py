"""A sink that refuses for a while, or for ever: what it refuses waits in bounded memory, and comes again or is counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.helpers import Memory, check_batches

import generals_env
from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import ExperienceBatch, ExperienceRecorder
from generals_env.recorders.sinks.pending_batches import held_bytes

SIZE = {"height": 6, "width": 6}

LIMIT = 300_000  # bytes that may wait

ENOUGH = 6000  # turns in which a recorder of any kind has more than that


class Gate(Memory):
    """A sink that refuses batches while it is shut; it opens by itself after some refusals."""

    def __init__(self) -> None:
        self.is_shut = True
        self.offered = 0
        self.refusals = 10**9

    def write(self, batch: ExperienceBatch) -> None:  # type: ignore[override]
        self.offered += 1
        self.is_shut &= self.offered <= self.refusals
        if self.is_shut:
            raise StorageError("gate: expected to be open, got shut")
        self.append(batch)


def pass_aec(env: Any) -> None:
    if not env.agents:
        env.reset()
    agent = env.agent_selection
    env.step(None if env.terminations[agent] or env.truncations[agent] else env.action_space(agent).n - 1)


def pass_parallel(env: Any) -> None:
    if not env.agents:
        env.reset()
    env.step(dict.fromkeys(env.agents, env.action_space("player_0").n - 1))


def pass_single(env: Any) -> None:
    try:
        env.step(288)
    except StateError:  # the call that ended the game has raised what the sink did
        env.reset()


def sb3(games: int) -> Any:
    from generals_env.wrappers import SB3VecEnv

    return SB3VecEnv(gymnasium.make_vec("generals_env/Generals-v0", num_envs=games, **SIZE))


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "aec": (lambda: generals_env.generals_v0.env(**SIZE), pass_aec),
    "parallel": (lambda: generals_env.parallel_env(**SIZE), pass_parallel),
    "vector step": (lambda: generals_env.make_vec(16, **SIZE), lambda env: env.step(env.act(("random", "random")))),
    "vector play": (lambda: generals_env.make_vec(16, **SIZE), lambda env: env.play(2, ("random", "random"))),
    "single": (lambda: gymnasium.make("generals_env/Generals-v0", disable_env_checker=True, **SIZE), pass_single),
    "sb3": (lambda: sb3(16), lambda env: env.step(np.full(16, 288))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_refusing_sink_stops_the_game_before_memory_grows_and_gets_everything_in_the_end(kind: str) -> None:
    make, turn = KINDS[kind]
    gate = Gate()
    env = ExperienceRecorder(make(), gate, max_waiting_bytes=LIMIT)
    env.reset(seed=1) if kind != "sb3" else env.reset()
    refusal = ""
    for _ in range(ENOUGH):
        before = env.experiences
        try:
            turn(env)
        except StorageError as error:
            refusal = str(error)
            if "nothing more is played" in refusal:
                break
    assert f"expected it to take the {env.waiting} experiences that wait for it" in refusal
    assert "got gate: expected to be open, got shut; nothing more is played until it does" in refusal
    for _ in range(3):
        with pytest.raises(StorageError, match="nothing more is played"):
            turn(env)
        assert env.experiences == before  # nor was anything played
    assert env.waiting <= before
    assert held(env) < 2 * LIMIT
    gate.is_shut = False
    for _ in range(3):
        turn(env)
    total = env.experiences
    assert total > before
    env.close()
    assert (env.waiting, env.dropped) == (0, 0)
    assert gate.column("sequence").tolist() == list(range(total))
    if kind not in ("single", "sb3"):  # the actions of both players are known
        assert check_batches(gate) == total


def held(env: Any) -> int:
    """Return how many bytes wait."""
    journal: Any = env.journal
    return sum(held_bytes(waiting.batch) for waiting in journal._unwritten)


def test_refused_batches_are_told_each_time_and_come_once_and_in_order() -> None:
    gate = Gate()
    env = ExperienceRecorder(generals_env.make_vec(8, **SIZE), gate)
    env.reset(seed=1)
    for _ in range(3):
        with pytest.raises(StorageError, match="gate: expected to be open, got shut"):
            env.play(8, ("random", "random"))
    assert env.experiences == env.waiting == 3 * 8 * 8 * 2
    with pytest.raises(StorageError, match="gate"):
        env.flush()
    gate.is_shut = False
    env.flush()
    assert gate.column("sequence").tolist() == list(range(env.experiences))
    assert gate.flushed == 1
    env.close()


def test_overflow_drop_oldest_plays_on_and_counts_what_it_gives_up(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    env = ExperienceRecorder(generals_env.make_vec(16, **SIZE), gate, overflow="drop_oldest", max_waiting_bytes=LIMIT)
    env.reset(seed=1)
    with caplog.at_level(logging.WARNING):
        while env.dropped < 5000:
            env.play(50, ("random", "random"))
            env.step(env.act(("random", "random")))
    assert held(env) < 2 * LIMIT
    (told,) = (record.getMessage() for record in caplog.records)  # once for the outage
    assert told.startswith("Gate refuses")
    gate.is_shut = False
    env.close()
    kept = gate.column("sequence").tolist()
    assert kept == list(range(env.dropped, env.experiences))


def test_overflow_block_plays_on_until_too_much_waits_and_then_waits_for_the_sink() -> None:
    gate = Gate()
    env = ExperienceRecorder(generals_env.make_vec(16, **SIZE), gate, overflow="block", max_waiting_bytes=LIMIT)
    env.reset(seed=1)
    env.play(2, ("random", "random"))
    assert env.waiting == 2 * 16 * 2  # there is room
    gate.refusals = gate.offered + 8
    while gate.is_shut:
        env.play(50, ("random", "random"))  # one of these waits until the gate is open
        assert held(env) < 2 * LIMIT
    env.close()
    assert env.dropped == 0
    assert gate.offered > gate.refusals
    assert gate.column("sequence").tolist() == list(range(env.experiences))


def test_closing_counts_what_the_sink_refuses_and_lets_go_of_it() -> None:
    gate = Gate()
    env = ExperienceRecorder(generals_env.parallel_env(**SIZE), gate)
    env.reset(seed=1)
    for _ in range(5):
        pass_parallel(env)
    with pytest.raises(StorageError, match="gate") as caught:
        env.close()
    assert caught.value.__notes__ == ["10 experiences were not taken, and are lost."]
    assert (env.dropped, env.waiting, gate.closed) == (10, 0, 1)
    assert held(env) == 0
    env.close()


def test_second_recorder_hears_of_a_turn_though_the_sink_of_the_first_refuses() -> None:
    gate, memory = Gate(), Memory()
    inner = ExperienceRecorder(generals_env.parallel_env(**SIZE), gate)
    env = ExperienceRecorder(inner, memory)
    env.reset(seed=1)
    refusals = 0
    for _ in range(1200):  # more than one batch
        try:
            pass_parallel(env)
        except StorageError:
            refusals += 1
            gate.is_shut = refusals < 3
    assert refusals == 3
    env.close()
    assert gate.column("turn").tolist() == memory.column("turn").tolist()
    assert check_batches(memory) == check_batches(gate) == env.experiences


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"overflow": "wait"}, "overflow: expected one of raise, block, drop_oldest, got 'wait'"),
        ({"overflow": None}, "overflow: expected one of raise, block, drop_oldest, got None"),
        ({"max_waiting_bytes": 0}, "max_waiting_bytes: expected"),
        ({"max_waiting_bytes": "much"}, "max_waiting_bytes: expected"),
    ],
)
def test_overflow_options_are_checked(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ExperienceRecorder(generals_env.parallel_env(**SIZE), Memory(), **options)
