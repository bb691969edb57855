"""Tests the pool of past selves: weights, who joins and who leaves, what members see and play, and checkpoints."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch

from generals_env import ConfigError, GameConfig
from generals_env.learning.ppo_config import REWARD
from generals_env.learning.self_play.pool import OpponentPool, PoolOptions
from generals_env.learning.self_play.pool_group import PoolGroup
from generals_env.networks.policy_network import PolicyNetwork

SMALL = {"height": 5, "width": 5, "max_turns": 12, "observation": "full", "reward": REWARD}


def network(seed: int = 0, passing: float = 0.0) -> PolicyNetwork:
    """Return a small network; ``passing`` raises the logit of the pass."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = PolicyNetwork("full", 4, 1)
    with torch.no_grad():
        made.passing.bias += passing
    return made


def pool_of(members: int, **options: Any) -> OpponentPool:
    """Return a pool of some members with numbers from 0 on."""
    pool = OpponentPool(PoolOptions(**{"games": 10, **options}), network(), seed=3)
    for number in range(1, members):
        pool.add(network(number), 100 * number)
    return pool


def numbers(pool: OpponentPool) -> list[int]:
    return [member.number for member in pool.members]


def group_of(pool: OpponentPool, games: int, **options: Any) -> PoolGroup:
    config = GameConfig.from_options(**{**SMALL, **options})
    return PoolGroup(games, config, 5, 0.99, np.array([0.3, 0.3, 0.0]), pool, contextlib.nullcontext)


def kept(state: Any) -> Any:
    """Return what a checkpoint gives back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_members_that_are_not_beaten_are_drawn_more_often() -> None:
    pool = pool_of(3)
    pool.count(0, (9, 1, 0))
    pool.count(1, (2, 5, 2))
    # Shares not won, with one game added as not won: (1+1)/11, (7+1)/10, and 1 for the member without games.
    shares = np.array([2 / 11, 8 / 10, 1.0])
    assert pool.weights() == pytest.approx(shares / shares.sum())
    drawn = np.bincount(pool.draw(20_000), minlength=3) / 20_000
    assert np.abs(drawn - pool.weights()).max() < 0.02, "more than five standard deviations"
    assert pool_of(3, sampling="uniform").weights() == pytest.approx([1 / 3] * 3)
    assert set(pool_of(3, sampling="latest").draw(50)) == {2}


def test_a_full_pool_removes_the_member_that_is_beaten_most() -> None:
    pool = pool_of(3, size=3)
    pool.count(0, (5, 5, 0))
    pool.count(1, (10, 0, 0))
    pool.add(network(), 500)
    assert numbers(pool) == [0, 2, 3]
    assert 1 not in pool
    with pytest.raises(KeyError):
        pool[1]
    oldest = pool_of(3, size=2, sampling="uniform")
    assert numbers(oldest) == [1, 2]


def test_the_learner_joins_at_the_exact_share_or_after_some_rollouts() -> None:
    pool = pool_of(1, beaten=0.6, games=10, every=4)
    pool.count(0, (5, 1, 3))
    assert not pool.after_rollout(network(7), 64), "9 games are too few"
    pool.count(0, (0, 0, 1))
    assert not pool.after_rollout(network(7), 128), "5 of 10 are won"
    pool.count(0, (7, 3, 0))
    assert pool.after_rollout(network(7), 192)
    assert numbers(pool) == [0, 1]
    assert pool[1].samples == 192
    assert pool.figures() == {"pool_members": 2, "pool_added": 2, "pool_wins": 0.0}
    joined = [pool.after_rollout(network(8), 256) for _ in range(8)]
    assert joined == [False, False, False, True] * 2, "without games it joins after four rollouts"


def test_members_are_copies_that_do_not_learn() -> None:
    learner = network(9)
    pool = OpponentPool(PoolOptions(), learner, seed=0)
    with torch.no_grad():
        learner.passing.bias += 1
    member = pool.members[0].network
    assert float((learner.passing.bias - member.passing.bias).detach()) == pytest.approx(1)
    assert not any(parameter.requires_grad for parameter in member.parameters())
    assert not member.training


def test_each_member_plays_its_games_by_what_its_seat_sees() -> None:
    pool = OpponentPool(PoolOptions(), network(1, passing=1e4), seed=2)
    pool.add(network(2, passing=-1e4), 1)
    group = group_of(pool, 40)
    seen: dict[int, Any] = {}
    for member in pool.members:
        member.network.register_forward_pre_hook(lambda _, inputs, n=member.number: seen.__setitem__(n, inputs[0].clone()))
    for _ in range(3):
        shown = group.venv.observe()
        actions = group._opponent_actions()
        assert set(group.members.tolist()) == {0, 1}
        games = np.arange(40)
        legal = shown["action_mask"][games, 1 - group.player]
        assert legal[games, actions[games, 1 - group.player]].all(), "all actions are legal"
        assert (actions[games, group.player] == 0).all(), "seats of the learner are left to it"
        for number in (0, 1):
            own = group.members == number
            assert (shown["observation"][games[own], 1 - group.player[own]] == seen[number].numpy()).all()
        passes = actions[games, 1 - group.player] == 8 * 25
        only_pass = legal.sum(axis=1) == 1
        assert (passes == ((group.members == 0) | only_pass)).all()
        group.play(np.full(40, 8 * 25))


def test_results_count_for_the_member_that_played() -> None:
    pool = pool_of(2, games=10**6)
    group = group_of(pool, 30, max_turns=60, start={"spawn_distance": [1, 3]})
    ended_games = {0: 0, 1: 0}
    for _ in range(130):
        before = group.members.copy()
        group._opponent_actions()
        playing = group.members.copy()
        assert (playing[before >= 0] == before[before >= 0]).all(), "a game is played to its end by one member"
        turn = group.play(group.venv.act(("expander", "expander"))[group.game, group.player])
        ended = turn.terminated | turn.truncated
        assert ((group.members == -1) == ended).all()
        for number in ended_games:
            ended_games[number] += int((ended & (playing == number)).sum())
    results = np.stack([pool[number].results.counts for number in (0, 1)])
    assert results.sum(1).tolist() == list(ended_games.values())
    assert results.sum(0).tolist() == group.take_results().tolist(), "won, lost and drawn as the group counts them"
    won, _, tied = results.sum(0)
    assert won > 10
    assert tied > 0


def test_a_removed_member_leaves_its_games() -> None:
    pool = pool_of(2, size=2)
    group = group_of(pool, 20)
    group.play(np.full(20, 8 * 25))
    pool.count(0, (100, 0, 0))
    pool.add(network(5), 5)
    assert (group.members == 0).any()
    group.play(np.full(20, 8 * 25))
    assert set(group.members.tolist()) <= {1, 2}


def test_a_pool_continues_from_its_checkpoint() -> None:
    pool = pool_of(4, size=3)
    pool.count(2, (3, 4, 1))
    pool.after_rollout(network(), 9)
    pool.draw(10)
    other = OpponentPool(pool.options, network(77), seed=99)
    other.restore(kept(pool.state()))
    assert numbers(other) == numbers(pool)
    assert (other.weights() == pool.weights()).all()
    assert other.figures() == pool.figures()
    for one, two in zip(pool.members, other.members, strict=True):
        assert (one.number, one.samples) == (two.number, two.samples)
        weights = two.network.state_dict()
        assert all(torch.equal(tensor, weights[name]) for name, tensor in one.network.state_dict().items())
        assert not two.network.training
    group, again = group_of(pool, 12), group_of(other, 12)
    for _ in range(5):
        assert (group._opponent_actions() == again._opponent_actions()).all(), "the same draws"
    assert numbers(pool)[-1] + 1 == other.add(network(), 1).number, "numbers go on"


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"beaten": 1.5}, {"beaten": "0.5"}, {"games": 0}, {"every": 0}, {"sampling": "best"}]
)
def test_wrong_options_of_a_pool_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}: expected"):
        PoolOptions(**options)
