"""Tests MixedSampler: shares within exact bounds, seeds, weights of 0, empty buffers, priorities, and refusals."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from support.recorded import games_of

from generals_env import ConfigError, StateError
from generals_env.recorders import ExperienceBatch, MixedSampler, PrioritizedReplayBuffer, ReplayBuffer
from generals_env.recorders.experience.identity import experience_hashes

pytestmark = pytest.mark.checklist("Q5")


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    """Return three batches that have no experience in common."""
    whole = ExperienceBatch.concat(games_of("two players"))
    return [whole.select(np.arange(low, low + 200)) for low in (0, 200, 400)]


def holding(batch: ExperienceBatch, kind: type[ReplayBuffer] = ReplayBuffer, seed: int = 1) -> ReplayBuffer:
    buffer = kind(500, seed=seed)
    buffer.write(batch)
    return buffer


def bounds(n: int, share: float, risk: float = 1e-9) -> tuple[int, int]:
    """Return between which counts a binomial variable lies, but for a risk on either side."""
    chances = np.array([float(comb(n, k)) * share**k * (1 - share) ** (n - k) for k in range(n + 1)])
    below = np.cumsum(chances)
    return int(np.searchsorted(below, risk)), int(n - np.searchsorted(np.cumsum(chances[::-1]), risk))


def test_mixed_sampler_draws_shares_of_the_weights(batches: list[ExperienceBatch]) -> None:
    mixed = MixedSampler(dict(zip("abc", map(holding, batches), strict=True)), {"a": 3, "b": 1}, seed=4)
    counts = np.zeros(3, np.int64)
    for _ in range(50):
        sample = mixed.sample(20)
        assert len(sample.batch) == 20
        counts += np.bincount(sample.sources, minlength=3)
        hashes = experience_hashes(sample.batch)
        for place, batch in enumerate(batches):
            assert np.isin(hashes[sample.sources == place], experience_hashes(batch)).all(), "sources name the buffers"
    low, high = bounds(1000, 0.75)
    assert low <= counts[0] <= high
    assert counts[2] == 0, "a tag without a weight is never drawn"


def test_mixed_sampler_repeats_with_its_seed(batches: list[ExperienceBatch]) -> None:
    def drawn(seed: int) -> list[bytes]:
        mixed = MixedSampler(dict(zip("abc", map(holding, batches), strict=True)), seed=seed)
        return [experience_hashes(mixed.sample(30).batch).tobytes() for _ in range(5)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_mixed_sampler_passes_over_empty_buffers(batches: list[ExperienceBatch]) -> None:
    empty = ReplayBuffer(500)
    mixed = MixedSampler(
        {"empty": empty, "a": holding(batches[0]), "b": holding(batches[1])}, {"empty": 98, "a": 1, "b": 1}, seed=1
    )
    sources = np.concatenate([mixed.sample(50).sources for _ in range(10)])
    low, high = bounds(500, 0.5)
    assert low <= (sources == 1).sum() <= high, "the others share by their weights"
    assert not (sources == 0).any()
    empty.write(batches[2])
    assert (mixed.sample(50).sources == 0).any(), "it takes part once it holds experiences"
    with pytest.raises(StateError, match="sample: expected experiences in a buffer that has a weight"):
        MixedSampler({"empty": ReplayBuffer(10), "a": holding(batches[0])}, {"empty": 1}).sample(1)


def test_mixed_sampler_updates_priorities_of_each_buffer(batches: list[ExperienceBatch]) -> None:
    uniform, first, second = (holding(batches[0]), *(holding(batch, PrioritizedReplayBuffer) for batch in batches[1:]))
    mixed = MixedSampler({"uniform": uniform, "first": first, "second": second}, seed=3)
    sample = mixed.sample(60)
    assert ((sample.keys == -1) == (sample.sources == 0)).all()
    assert (sample.weights[sample.sources == 0] == 1).all()
    assert mixed.update_priorities(sample, np.where(sample.sources == 1, 1e300, 0.0)) == 0
    assert set(first.sample(100).keys) <= set(sample.keys[sample.sources == 1]), "drawn ones have all the priority"
    assert not set(second.sample(60).keys) & set(sample.keys[sample.sources == 2])
    with pytest.raises(ConfigError, match="priorities: expected 60 finite numbers"):
        mixed.update_priorities(sample, np.ones(3))


@pytest.mark.parametrize("weights", [{"c": 1}, {"a": -1}, {"a": float("nan")}, {"a": 0}, {}, {"a": "1"}])
def test_mixed_sampler_refuses_wrong_weights(weights: dict[str, float], batches: list[ExperienceBatch]) -> None:
    with pytest.raises(ConfigError, match="weights: expected"):
        MixedSampler({"a": holding(batches[0])}, weights)


def test_mixed_sampler_refuses_wrong_arguments(batches: list[ExperienceBatch]) -> None:
    with pytest.raises(ConfigError, match="buffers: expected one or more"):
        MixedSampler({})
    mixed = MixedSampler({"a": holding(batches[0])})
    for arguments in ({"n": 0}, {"n": 5, "out": batches[0]}, {"n": 5, "n_step": 0}):
        with pytest.raises(ConfigError):
            mixed.sample(**arguments)
