"""Tests the schedule of weights of several buffers: values computed by hand, and samples that follow them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from support.recorded import games_of

from generals_env import ConfigError
from generals_env.recorders import ExperienceBatch, MixedSampler, MixSchedule, ReplayBuffer


def test_schedule_interpolates_weights_between_its_points() -> None:
    schedule = MixSchedule({0.5: {"games": 1, "own": 1}, 0.0: {"games": 1}, 1.0: {"own": 4}})
    assert schedule.weights(0) == {"games": 1, "own": 0}
    assert schedule.weights(0.25) == {"games": 1, "own": 0.5}
    assert schedule.weights(0.75) == {"games": 0.5, "own": 2.5}
    assert schedule.weights(1) == schedule.weights(7) == {"games": 0, "own": 4}
    assert schedule.weights(-1) == {"games": 1, "own": 0}
    assert MixSchedule({0.3: {"own": 2}}).weights(0.9) == {"own": 2}
    assert pickle.loads(pickle.dumps(schedule)).weights(0.25) == schedule.weights(0.25)


def test_samples_follow_the_schedule_from_recorded_to_own_games() -> None:
    whole = ExperienceBatch.concat(games_of("two players"))
    buffers = {name: ReplayBuffer(500, seed=1) for name in ("games", "own")}
    buffers["games"].write(whole.select(np.arange(200)))
    buffers["own"].write(whole.select(np.arange(200, 400)))
    schedule = MixSchedule({0.0: {"games": 1}, 1.0: {"own": 1}})
    mixed = MixedSampler(buffers, schedule.weights(0.0), seed=3)
    shares = []
    for progress in (0.0, 0.5, 1.0):
        mixed.set_weights(schedule.weights(progress))
        shares.append((mixed.sample(1000).sources == 1).mean())
    assert shares[0] == 0
    assert 0.4 < shares[1] < 0.6
    assert shares[2] == 1


def test_wrong_points_of_a_schedule_are_refused() -> None:
    for points, text in (
        ({}, "points: expected weights by shares"),
        ([], "points: expected weights by shares"),
        ({1.5: {"a": 1}}, "points: expected shares from 0 to 1"),
        ({0.5: {"a": 0}}, "points: expected weights of at least 0, and one above 0"),
        ({0.5: {"a": -1, "b": 1}}, "points: expected weights of at least 0"),
        ({0.5: 1}, "points: expected weights of at least 0"),
    ):
        with pytest.raises(ConfigError, match=text):
            MixSchedule(points)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="progress: expected a number"):
        MixSchedule({0: {"a": 1}}).weights("0.5")  # type: ignore[arg-type]
