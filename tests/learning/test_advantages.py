"""Advantages against numbers by hand and a slow sum in plain Python."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from generals_env.learning.rollouts.advantages import advantages


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def flags(*values: int) -> np.ndarray:
    return np.array(values, np.bool_)[:, None]


def test_advantages_of_two_episodes_by_hand() -> None:
    found = advantages(
        rewards=column(0, 1, 0, 0.5),
        values=column(0.5, 0.25, 0.125, 1),
        ended=flags(0, 1, 0, 0),
        bootstrap=column(9, 0, 9, 9),
        last_values=np.array([2], np.float32),
        gamma=0.5,
        gae_lambda=0.5,
    )
    # Turn 3: 0.5 + 0.5 * 2 - 1 = 0.5. Turn 2: 0 + 0.5 * 1 - 0.125 + 0.25 * 0.5 = 0.5.
    # Turn 1 ends the episode: 1 - 0.25 = 0.75. Turn 0: 0.5 * 0.25 - 0.5 + 0.25 * 0.75 = -0.1875.
    assert found[:, 0].tolist() == [-0.1875, 0.75, 0.5, 0.5]


def test_last_actions_that_win_gain_and_those_that_lose_do_not() -> None:
    for outcome in (1.0, -1.0):
        rewards, zeros, ended = column(0, 0, outcome, 0), column(0, 0, 0, 0), flags(0, 0, 1, 0)
        found = advantages(rewards, zeros, ended, zeros, np.zeros(1, np.float32), 0.99, 0.9)
        assert (np.sign(found[:3, 0]) == outcome).all()
        assert found[3, 0] == 0  # the next game knows nothing of it


def oracle(
    rewards: list[float], values: list[float], ended: list[bool], bootstrap: list[float], last: float, valid: list[bool],
    gamma: float, gae_lambda: float,
) -> list[float]:  # fmt: skip
    """Return for each turn the sum over the rest of its episode of discounted errors, as the paper writes it."""
    count = len(rewards)
    found = []
    for start in range(count):
        total = 0.0
        weight = 1.0
        for turn in range(start, count):
            if ended[turn]:
                after = bootstrap[turn]
            else:
                after = values[turn + 1] if turn + 1 < count else last
            total += weight * (rewards[turn] + gamma * after - values[turn])
            weight *= gamma * gae_lambda
            if ended[turn]:
                break
        found.append(total if valid[start] else 0.0)
    return found


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_advantages_equal_a_slow_sum(data: st.DataObject) -> None:
    steps, seats = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    gamma, gae_lambda = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    rewards, values, bootstrap = (rng.normal(size=(steps, seats)).astype(np.float32) for _ in range(3))
    last = rng.normal(size=seats).astype(np.float32)
    ended, valid = rng.random((steps, seats)) < 0.3, np.ones((steps, seats), np.bool_)
    for turn in range(1, steps):  # rows that are no action come only after an end
        valid[turn] = ~((ended[turn - 1] | ~valid[turn - 1]) & (rng.random(seats) < 0.5))
        ended[turn] &= valid[turn]
    found = advantages(rewards, values, ended, bootstrap, last, gamma, gae_lambda, valid)
    for seat in range(seats):
        listed = [array[:, seat].tolist() for array in (rewards, values, ended, bootstrap)]
        slow = oracle(*listed, float(last[seat]), valid[:, seat].tolist(), gamma, gae_lambda)
        assert np.allclose(found[:, seat], slow, rtol=1e-4, atol=1e-5)
