"""Tests ``branch`` of all environments: copies of a game that continue where it is."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.helpers import Memory

import generals_env
from generals_env import ConfigError, StateError
from generals_env.recorders import ExperienceRecorder
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.vector import GeneralsVector

KINDS: list[dict[str, Any]] = [
    {"height": 7, "width": 7},
    {"height": (5, 6), "width": (5, 8), "rules": "competition", "observation": "full"},
    {"height": 8, "width": 8, "players": 4, "teams": (0, 1, 0, 1)},
]


def names(env: Any) -> list[str]:
    """Return a policy for each player."""
    return ["expander", "random", "expander", "random"][: env.config.players]


def mid_game(turns: int = 40, games: int = 3, **options: Any) -> GeneralsVector:
    """Return an environment in the middle of its games."""
    venv = generals_env.make_vec(games, **{"height": 7, "width": 7, **options})
    venv.reset(seed=2)
    for _ in range(turns):
        venv.step(venv.act(names(venv)))
    return venv


def frozen(venv: Any) -> bytes:
    """Return the whole state of an environment."""
    return pickle.dumps([venv.batch.boards, venv.batch.outcome, venv.batch.views, venv.batch.rng, venv.batch.policy_rng])


@pytest.mark.parametrize("options", KINDS)
def test_branch_copies_play_what_the_original_plays(options: dict[str, Any]) -> None:
    venv = mid_game(**options, autoreset_mode="DISABLED")
    branch = venv.branch(2)
    assert branch.num_envs == 6
    before = frozen(venv)
    for name in ("observation", "action_mask"):
        assert np.array_equal(branch.observe()[name][::2], venv.observe()[name])
    kept = venv.branch(1)
    for _ in range(25):
        branch.step(branch.act(names(venv)))
    assert frozen(venv) == before
    for turn in range(25):
        one, other = venv.step(venv.act(names(venv))), kept.step(kept.act(names(venv)))
        for mine, copied in zip(one[:4], other[:4], strict=True):
            assert np.array_equal(
                np.asarray(mine["observation"] if isinstance(mine, dict) else mine),
                np.asarray(copied["observation"] if isinstance(copied, dict) else copied),
            ), turn
        if venv._done.any():
            break
    assert np.array_equal(kept.state(), venv.state())
    if turn == 24:
        assert np.array_equal(branch.state()[::2], venv.state())
    assert np.array_equal(branch.state()[::2], branch.state()[1::2])


def test_branch_draws_common_random_numbers_until_boards_differ() -> None:
    venv = mid_game(turns=30)
    branch = venv.branch(4, game=1, seed=8)
    assert (branch.boards().games["turn"] == 30).all()
    actions = branch.act(["random", "random"])
    assert (actions == actions[0]).all()
    assert (venv.branch(4, 1, seed=8).act(["random", "random"]) == actions).all()
    assert (venv.branch(40, 1, seed=9).act(["random", "random"])[:, 1] != actions[0, 1]).any()
    actions[3, 0] = 8 * 49  # pass
    branch.step(actions)
    following = branch.act(["random", "random"])
    assert (following[:3] == following[0]).all()
    assert np.array_equal(following[3, 1], following[0, 1])  # the opponent has not met the change yet
    for _ in range(20):
        branch.step(branch.act(["random", "random"]))
    assert (branch.state()[:3] == branch.state()[0]).all()
    assert (branch.state()[3] != branch.state()[0]).any()


@pytest.mark.parametrize("seed", [None, 4])
def test_branch_without_common_numbers_draws_its_own(seed: int | None) -> None:
    venv = mid_game(turns=30)
    branch = venv.branch(20, game=0, seed=seed, common=False)
    actions = branch.act(["random", "random"])
    assert len(np.unique(actions[:, 0])) > 2
    again = venv.branch(20, game=0, seed=seed, common=False).act(["random", "random"])
    assert np.array_equal(again, actions) == (seed is not None)


def test_branch_of_all_games_keeps_their_order_and_seeds() -> None:
    venv = mid_game()
    branch = venv.branch(2, seed=6)
    boards = venv.boards()
    for one, other in zip(branch.boards(), boards, strict=True):
        assert np.array_equal(one, np.repeat(other, 2, axis=0))
    generators = branch.batch.policy_rng
    assert np.array_equal(generators[::2], generators[1::2])
    assert np.array_equal(generators[2], venv.branch(1, seed=7).batch.policy_rng[0])
    assert len(np.unique(generators)) == 6


def test_branch_games_that_end_stand_still_until_reset() -> None:
    venv = mid_game(max_turns=43)
    branch = venv.branch(3, game=0)
    for turn in (41, 42, 43, 44):
        _, rewards, terminated, truncated, _ = branch.step(branch.act(names(venv)))
        assert truncated.all() == (turn == 43)
        assert branch.going.all() == (turn < 43)
    assert not rewards.any()
    assert not terminated.any()
    assert (branch.boards().games["turn"] == 43).all()
    assert branch.play(5, names(venv)).turns == 0
    branch.reset(options={"reset_mask": np.array([True, False, False])})
    assert branch.boards().games["turn"].tolist() == [0, 43, 43]
    assert branch.play(50, names(venv)) == (43, 1, (0, 0), 0, 1, 0)
    waiting = mid_game(max_turns=40, autoreset_mode="DISABLED")
    assert not waiting.branch(2).going.any()
    with pytest.raises(StateError, match=r"^step: expected a reset of ended games"):
        waiting.step(waiting.act(names(waiting)))


def test_branch_plays_to_the_end_without_new_games() -> None:
    venv = mid_game()
    branch = venv.branch(5)
    counts = branch.play(2000, ["expander", "random"])
    assert counts.games == 15
    assert not branch.going.any()
    assert counts.turns == int((branch.boards().games["turn"] - 40).sum())


@pytest.mark.parametrize("make", [generals_env.make, generals_env.parallel_env])
def test_branch_of_single_games_is_a_vector(make: Any) -> None:
    env = make(height=7, width=7, players=3)
    with pytest.raises(StateError, match=r"^branch: expected a call of reset\(\)"):
        env.branch(2)
    env.reset(seed=3)
    guide = generals_env.make_vec(1, height=7, width=7, players=3)
    guide.reset(seed=3)
    for _ in range(12):
        actions = guide.act(["expander"] * 3)[0]
        guide.step(actions[None])
        step_all(env, actions)
    branch = env.branch(2, seed=1)
    assert isinstance(branch, GeneralsVector)
    assert np.array_equal(branch.state()[1], env.state())
    for _ in range(10):
        actions = branch.act(["expander"] * 3)
        branch.step(actions)
        step_all(env, actions[0])
    assert np.array_equal(branch.state()[0], env.state())
    assert np.array_equal(branch.observe()["observation"][0], env.game.observations)
    env.surrender("player_1")
    assert env.branch(1).step(np.full((1, 3), 8 * 49))[2].tolist() == [[False, True, False]]


def step_all(env: Any, actions: np.ndarray) -> None:
    """Play a turn of a single game."""
    if hasattr(env, "agent_selection"):
        for action in actions:
            env.step(int(action))
    else:
        env.step({f"player_{player}": int(action) for player, action in enumerate(actions)})


class Counting:
    """An opponent that plays its k-th call's k-th legal action."""

    calls = 0

    def __call__(self, views: Mapping[str, Any]) -> np.ndarray:
        """Return actions."""
        self.calls += 1
        chosen = [np.flatnonzero(mask)[self.calls % mask.sum()] for mask in views["action_mask"]]
        return np.array(chosen)


def test_branch_of_a_learner_copies_its_opponent() -> None:
    opponent = Counting()
    single: Any = gymnasium.make("generals_env/Generals-v0", height=7, width=7, opponent=opponent).unwrapped
    assert isinstance(single, GeneralsSingle)
    single.reset(seed=1)
    for _ in range(10):
        single.step(8 * 49)
    calls = single.games.opponent.calls
    branch = single.branch(3)
    assert isinstance(branch, GeneralsSingleVector)
    for _ in range(10):
        branch.step(np.full(3, 8 * 49))
    assert single.games.opponent.calls == calls
    for _ in range(10):
        single.step(8 * 49)
    assert np.array_equal(branch.state()[2], single.state())
    assert branch.config == single.config


def test_branch_of_a_learner_ends_with_his_episode() -> None:
    venv = GeneralsSingleVector(2, "expander", height=6, width=6, players=3, autoreset_mode="DISABLED", max_turns=400)
    venv.reset(seed=1)
    branch = venv.branch(2)
    while branch.going.any():
        branch.step(np.full(4, 8 * 36))
    turns = branch.boards().games["turn"]
    branch.step(np.full(4, 8 * 36))
    assert np.array_equal(branch.boards().games["turn"], turns)


def test_branch_reuses_an_earlier_result() -> None:
    venv = mid_game()
    first = venv.branch(3)
    address = first.batch.views.observations.ctypes.data
    first.play(300, names(venv))
    again = venv.branch(3, reuse=first)
    assert again is first
    assert address == again.batch.views.observations.ctypes.data
    for name, array in venv.branch(3).observe().items():
        assert np.array_equal(again.observe()[name], array)
    for other in (venv, venv.branch(2), mid_game(height=8).branch(3), "branch"):
        with pytest.raises(ConfigError, match=r"^reuse: expected a branch of 9 games"):
            venv.branch(3, reuse=other)  # type: ignore[arg-type]


def test_branch_can_be_branched_copied_recorded_and_pickled() -> None:
    venv = mid_game()
    branch = venv.branch(2)
    for made in (copy.deepcopy(branch), pickle.loads(pickle.dumps(branch)), branch.branch(1)):
        assert made.branched
        assert np.array_equal(made.state(), branch.state())
        assert np.array_equal(made.act(["random", "random"]), branch.act(["random", "random"]))
        branch = venv.branch(2)
    memory = Memory()
    with ExperienceRecorder(branch, memory) as recorder:
        for _ in range(5):
            recorder.step(branch.act(names(venv)))
    batch = type(memory[0]).concat(list(memory))
    assert len(batch) == 5 * 6 * 2
    assert sorted(set(batch.boards.entries["turn"].tolist())) == list(range(40, 46))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"k": 0}, "k: expected a positive integer"),
        ({"k": 2, "game": 3}, "game: expected an integer from 0 to 2"),
        ({"k": 2, "seed": -1}, "seed: expected a non-negative integer"),
        ({"k": 2, "seed": [1, 2]}, "seed: expected one for each of 3 games"),
        ({"k": 2, "common": 1}, "common: expected True or False"),
    ],
)
def test_branch_refuses_wrong_arguments(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"^{told}"):
        mid_game(turns=1).branch(**arguments)
    with pytest.raises(StateError, match=r"^branch: expected a call of reset\(\)"):
        generals_env.make_vec(2).branch(2)
