"""Tests players that draw actions from the logits of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import generals_env
from generals_env.agents.sampled_player import SampledPlayer, draw_actions, legal_shares
from generals_env.errors import ConfigError


class FixedLogits:
    """Gives each board the same logits, one more for each action, or those that it is given."""

    def __init__(self, channels: int = 9, builds: bool = False, logits: Any = None) -> None:
        self.channels, self.builds, self.given = channels, builds, logits
        self.seen: tuple[int, ...] = ()

    def logits(self, observations: np.ndarray) -> np.ndarray:
        self.seen = observations.shape
        tiles = observations.shape[2] * observations.shape[3]
        row = np.arange((9 if self.builds else 8) * tiles + 1, dtype=np.float32) if self.given is None else self.given
        return np.tile(row, (len(observations), 1))


def views(actions: int, channels: int = 9, count: int = 1, side: int = 1) -> dict[str, Any]:
    return {
        "observation": np.zeros((count, channels, side, side), np.float32),
        "action_mask": np.ones((count, actions), np.int8),
    }


def test_probabilities_are_those_of_the_legal_logits() -> None:
    # Logits of ln 1, ln 2, ln 4 and one that is illegal: by hand 1/7, 2/7, 4/7; with temperature 2 in the ratio 1, sqrt 2, 2.
    logits = np.log(np.array([[1, 2, 4, 1000]], np.float32))
    masks = np.array([[1, 1, 1, 0]], np.int8)
    np.testing.assert_allclose(legal_shares(logits, masks, 1.0), [[1 / 7, 2 / 7, 4 / 7, 0]], rtol=1e-6)
    total = 3 + 2**0.5
    np.testing.assert_allclose(legal_shares(logits, masks, 2.0), [[1 / total, 2**0.5 / total, 2 / total, 0]], rtol=1e-6)
    assert legal_shares(logits, masks, 0).tolist() == [[0, 0, 1, 0]]
    assert legal_shares(logits, np.array([[0, 1, 0, 0]]), 1.0).tolist() == [[0, 1, 0, 0]]


def test_logits_that_are_not_finite_never_win_over_finite_ones() -> None:
    logits = np.array([[np.nan, 0.0, -np.inf]], np.float32)
    assert legal_shares(logits, np.ones((1, 3), np.int8), 1.0).tolist() == [[0, 1, 0]]
    assert legal_shares(np.array([[np.inf, 0.0]], np.float32), np.ones((1, 2), np.int8), 1.0).tolist() == [[1, 0]]


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    shares = np.tile([0.0, 0.5, 0.0, 0.3, 0.2, 0.0], (20_000, 1))
    drawn = draw_actions(shares, np.random.default_rng(1))
    counts = np.bincount(drawn, minlength=6) / len(drawn)
    assert (counts[[0, 2, 5]] == 0).all()
    np.testing.assert_allclose(counts[[1, 3, 4]], [0.5, 0.3, 0.2], atol=0.02)  # five deviations
    one, two, other = (SampledPlayer(FixedLogits(logits=np.zeros(9, np.float32)), seed=seed) for seed in (1, 1, 2))
    seen = views(9, count=200)
    first = one(seen)
    assert first.tolist() == two(seen).tolist() != other(seen).tolist()
    assert one(seen).tolist() != first.tolist()
    one.reseed(1)
    assert one(seen).tolist() == first.tolist()


@pytest.mark.parametrize(("temperature", "loops"), [(0, True), (1, False)])
def test_most_probable_move_loops_where_draws_go_on(temperature: float, loops: bool) -> None:
    # Up is a little more probable than down, and both more than left and right; half moves and the pass are not.
    logits = np.full(8 * 36 + 1, -20, np.float32)
    logits[: 4 * 36] = np.tile([2.0, 1.5, 0.5, 0.5], 36)
    player = SampledPlayer(FixedLogits(logits=logits), temperature, seed=1)
    games = generals_env.make_vec(
        1, map="A . . . . .\n. . . . . .\n. . . . . .\n. . . . . .\n. . . . . .\n. . . . . B", fog=False
    )
    games.reset(seed=1)
    reached = set()
    for _ in range(250):
        seen = games.observe()
        moves = player({name: array[:, 0] for name, array in seen.items()})
        games.step(np.array([[int(moves[0]), 8 * 36]]))
        own = games.observe()["observation"][0, 0, 2]
        reached |= {int(column) for column in np.flatnonzero(own.any(axis=0))}
    assert (reached == {0}) is loops


def test_end_of_the_range_is_never_drawn_where_its_probability_is_zero() -> None:
    class Highest:
        def random(self, count: int) -> np.ndarray:
            return np.full(count, np.nextafter(1.0, 0.0))

    shares = np.array([[0.1, 0.2, 0.7, 0.0], [1.0, 0.0, 0.0, 0.0]])
    assert draw_actions(shares, Highest()).tolist() == [2, 0]  # type: ignore[arg-type]


def test_larger_layouts_and_rules_with_builds_fit_a_network_without_them() -> None:
    network = FixedLogits(channels=9)
    player = SampledPlayer(network, temperature=0)
    assert player(views(9)).tolist() == [8]
    assert player(views(10, channels=21)).tolist() == [8]  # the build has the highest index, and no logit
    assert network.seen == (1, 9, 1, 1)
    assert player.probabilities(views(10)).shape == (1, 10)


def test_observations_and_masks_that_do_not_fit_are_refused() -> None:
    player = SampledPlayer(FixedLogits(channels=21, builds=True))
    with pytest.raises(ConfigError, match=r'observation: expected 21 channels.*got \(9, 1, 1\).*make\(observation="full"\)'):
        player(views(10))
    with pytest.raises(ConfigError, match="action_mask: expected 10 actions, as in the training of the network, got 9"):
        player(views(9, channels=21))
    with pytest.raises(ConfigError, match=r"action_mask: expected 9 or 10 actions.*got 11"):
        SampledPlayer(FixedLogits())(views(11))


@pytest.mark.parametrize("temperature", [-1, 101, float("nan"), "1", True, None])
def test_temperatures_out_of_range_are_refused(temperature: Any) -> None:
    with pytest.raises(ConfigError, match="temperature: expected a number from 0 to 100"):
        SampledPlayer(FixedLogits(), temperature)
