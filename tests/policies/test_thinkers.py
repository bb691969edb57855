"""Tests that policies with a memory play alike in ``act``, ``play`` and recordings, in copies, and on any number of threads."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from support.helpers import Memory, same

import generals_env
from generals_env.engine.policies.codes import EXPANDER, HUNTER, level_of, policy_of, with_level
from generals_env.engine.simulation import thinkers
from generals_env.engine.simulation.batch import Batch
from generals_env.recorders import ExperienceRecorder
from generals_env.single import GeneralsSingle

SMALL: dict[str, Any] = {"height": 5, "width": 5, "max_turns": 17}
NAMES = ("hunter", "expander")


class Counter:
    """Counts how often each seat was asked in its game, and chooses a legal action by it, by level and by generator."""

    def __init__(self, batch: Batch) -> None:
        self.cost = 4
        self.begun = np.full(batch.outcome.actions.shape, -1)
        self.asked = np.zeros(batch.outcome.actions.shape, np.int64)

    def choose(self, batch: Batch, policies: npt.NDArray[np.int64], low: int, high: int) -> None:
        for b in range(low, high):
            for seat, code in enumerate(policies.tolist()):
                if policy_of(code) == HUNTER:
                    if self.begun[b, seat] != batch.outcome.begun[b]:
                        self.begun[b, seat], self.asked[b, seat] = batch.outcome.begun[b], 0
                    self.asked[b, seat] += 1
                    batch.policy_rng[b, seat] ^= np.uint64(12345 * self.asked[b, seat])
                    legal = np.flatnonzero(batch.views.masks[b, seat])
                    number = 7 * self.asked[b, seat] + 3 * level_of(code) + int(batch.policy_rng[b, seat]) % 11
                    batch.outcome.actions[b, seat] = legal[number % len(legal)]


class SlowCounter(Counter):
    """Says that a choice takes long, so that little is played at once."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(batch)
        self.cost = 10**6


@pytest.fixture(autouse=True, params=[Counter, SlowCounter])
def counters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a counter play what is named hunter."""
    monkeypatch.setitem(thinkers.MAKERS, HUNTER, request.param)


def games(count: int = 6, threads: int = 1, **options: Any) -> Any:
    """Return small games that have begun."""
    env = generals_env.make_vec(count, threads=threads, **(SMALL | options))
    env.reset(seed=3)
    return env


def same_state(env: Any, other: Any) -> None:
    """Check that two environments have the same games, generators and memories."""
    for field, others in zip(env.boards(), other.boards(), strict=True):
        assert same(field, others)
    assert same(env.batch.policy_rng, other.batch.policy_rng)
    assert same(env.batch.outcome.begun, other.batch.outcome.begun)
    for kind, thinker in env.batch.thinkers.items():
        assert same(thinker.asked, other.batch.thinkers[kind].asked)


@pytest.mark.parametrize("names", [NAMES, ("random", "hunter:easy"), ("hunter", "hunter:medium")])
def test_play_with_thinkers_equals_steps(names: tuple[str, str]) -> None:
    played, stepped = games(), games()
    counts = played.play(40, names)
    for _ in range(40):
        stepped.step(stepped.act(names))
    same_state(played, stepped)
    assert counts.turns == 6 * 40
    assert counts.games >= 6 * 2
    seen, others = played.observe(), stepped.observe()
    assert same(seen["observation"], others["observation"])
    assert same(seen["action_mask"], others["action_mask"])


def test_thinkers_play_alike_on_any_number_of_threads() -> None:
    envs = [games(40, threads) for threads in (1, 3)]
    for env in envs:
        env.step(env.act(NAMES))
        env.play(30, NAMES)
    same_state(*envs)


def test_thinkers_notice_each_new_game() -> None:
    env = games()
    env.play(45, ("hunter", "hunter"))
    assert same(env.batch.thinkers[HUNTER].asked, np.repeat(env.boards().games["turn"][:, None], 2, axis=1))
    before = env.batch.outcome.begun.copy()
    which = np.array([True, False] * 3)
    env.reset(options={"reset_mask": which})
    assert same(env.batch.outcome.begun, before + which)
    env.step(env.act(NAMES))
    assert (env.batch.thinkers[HUNTER].asked[:, 0] == env.boards().games["turn"]).all()


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_continue_with_the_memory_of_thinkers(copied: Any) -> None:
    env = games()
    env.play(11, NAMES)
    other = copied(env)
    assert other.batch.thinkers[HUNTER].asked is not env.batch.thinkers[HUNTER].asked
    env.play(20, NAMES)
    other.play(20, NAMES)
    same_state(env, other)


def test_levels_reach_the_thinker() -> None:
    strong, weak = games(), games()
    for env in (strong, weak):
        env.play(6, ("expander", "expander"))
    assert not same(strong.act(("hunter", "random"))[:, 0], weak.act(("hunter:easy", "random"))[:, 0])


def test_recorded_thinkers_equal_recorded_steps() -> None:
    together: list[Memory] = []
    for steps in (False, True):
        memory = Memory()
        with ExperienceRecorder(games(threads=3), memory, run_id="run") as env:
            env.reset(seed=3)
            if steps:
                for _ in range(40):
                    env.step(env.act(NAMES))
            else:
                env.play(40, NAMES)
        together.append(memory)
    first, second = ([sorted(game) for game in recorded_games(memory).values()] for memory in together)
    assert sorted(first) == sorted(second)
    assert sum(map(len, first)) == 6 * 40 * 2


def recorded_games(batches: Memory) -> dict[str, list[tuple[int, int, int]]]:
    """Return player, turn and action of all experiences, by game: ids are given in the order in which games begin."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for batch in batches:
        rows = zip(batch.game_id, batch.player_id.tolist(), batch.turn.tolist(), batch.action.tolist(), strict=True)
        for game, *turn in rows:
            found.setdefault(game, []).append(tuple(turn))
    return found


def test_interrupted_play_of_thinkers_continues() -> None:
    env, whole = games(), games()
    codes = np.array([HUNTER, EXPANDER])
    paused: list[Any] = []

    def asked() -> bool:
        return not paused and env.boards().games["turn"].max() > 0

    env.batch.play(500, codes, np.zeros(6, np.bool_), asked, lambda: paused.append(env.boards()))
    whole.play(500, NAMES)
    same_state(env, whole)
    assert paused


def test_learner_against_thinker_meets_the_same_games() -> None:
    learner = GeneralsSingle(opponent="hunter:easy", **SMALL)
    observation, _ = learner.reset(seed=3)
    both = games(1)
    for _ in range(12):
        action = int(np.flatnonzero(observation["action_mask"])[0])
        actions = both.act(("random", "hunter:easy"))
        actions[0, 0] = action
        both.step(actions)
        observation, *_ = learner.step(action)
    assert same(learner.state(), both.state()[0])


def test_thinkers_are_made_at_their_first_use() -> None:
    env = games()
    env.play(3, ("expander", "random"))
    assert not env.batch.thinkers
    env.act(("expander", "hunter"))
    assert list(env.batch.thinkers) == [HUNTER]
    assert with_level(HUNTER, 2) != HUNTER
    assert policy_of(with_level(HUNTER, 2)) == HUNTER
