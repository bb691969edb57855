"""Samples from several buffers at once, in shares that weights give: learners that share their experience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.arguments import is_number, positive
from generals_env.errors import ConfigError, StateError
from generals_env.pickling import pickled_as
from generals_env.recorders.buffers.prioritized import PrioritizedSample
from generals_env.recorders.experience import ExperienceBatch
from generals_env.seeding import seed_state

__all__ = ["MixedSample", "MixedSampler", "SampledBuffer"]


class SampledBuffer(Protocol):
    """Protocol of buffers that can be mixed: ``ReplayBuffer``, ``PrioritizedReplayBuffer`` and ``RayBuffer`` are some."""

    def __len__(self) -> int:
        """Return the number of experiences."""

    def sample(self, n: int, **options: Any) -> Any:
        """Return n experiences, as an ``ExperienceBatch`` or ``PrioritizedSample``; raise ``StateError`` if it is empty."""


@pickled_as("generals_env.recorders")
class MixedSample(NamedTuple):
    """Result of ``MixedSampler.sample``; experiences of one buffer are next to each other.

    Attributes:
        batch: n experiences.
        sources: (n,) int32, the place among ``MixedSampler.tags`` of the buffer that each comes from.
        keys: (n,) int64, for ``update_priorities``; -1 where the buffer samples uniformly.
        weights: (n,) float32, importance sampling weights within each buffer; 1 where it samples uniformly.
    """

    batch: ExperienceBatch
    sources: npt.NDArray[np.int32]
    keys: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


@pickled_as("generals_env.recorders")
class MixedSampler:
    """Draws each experience from one of several buffers, chosen with a probability in proportion to its weight.

    So a learner may draw from the buffers of other agents, by their tags. Buffers that are empty are passed over until they
    hold experiences: the others share the sample in proportion to their weights.

    Examples:
        >>> mixed = MixedSampler({"mine": mine, "league": league}, {"mine": 3, "league": 1}, seed=1)  # doctest: +SKIP
        >>> batch = mixed.sample(256).batch

    Attributes:
        tags: Names of the buffers.
        weights: The weight of each tag.
    """

    def __init__(
        self, buffers: Mapping[str, SampledBuffer], weights: Mapping[str, float] | None = None, *, seed: int | None = None
    ) -> None:
        """Sample from ``buffers``.

        Args:
            buffers: The buffers by their tags.
            weights: Weights by tag, 0 or more; a tag that is left out has 0. None for equal weights.
            seed: Seed of the shares; random if None. The buffers draw by seeds of their own.

        Raises:
            ConfigError: If there is no buffer, or a weight is of no buffer, negative or not finite, or all are 0.
        """
        if not isinstance(buffers, Mapping) or not buffers:
            raise ConfigError(f"buffers: expected one or more by their tags, got {buffers!r:.200}: pass a dict")
        self.buffers = dict(buffers)
        self.tags = tuple(self.buffers)
        self.weights: dict[str, float] = {}
        self.set_weights(dict.fromkeys(self.tags, 1.0) if weights is None else weights)
        self._rng = np.random.default_rng(seed_state(seed))

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Replace the weights; arguments and errors as of ``__init__``, and nothing is changed after one."""
        for tag, weight in weights.items():
            if tag not in self.buffers:
                raise ConfigError(f"weights: expected tags among {', '.join(self.tags)}, got {tag!r}")
            if not is_number(weight) or not 0 <= weight < np.inf:
                raise ConfigError(f"weights: expected numbers of at least 0, got {weight!r:.80} for {tag!r}")
        if not any(weights.values()):
            raise ConfigError(f"weights: expected one above 0, got {dict(weights)!r:.200}")
        self.weights = {tag: float(weights.get(tag, 0.0)) for tag in self.tags}

    def sample(self, n: int, **options: Any) -> MixedSample:
        """Sample n experiences.

        Args:
            n: Number of experiences.
            **options: Further arguments of ``sample`` of all buffers that have a weight, except ``out``.

        Raises:
            ConfigError: If an argument is invalid, or the experiences of two buffers cannot be in one batch.
            StateError: If all buffers that have a weight are empty.
        """
        positive("n", n)
        if "out" in options:
            raise ConfigError("out: expected no arrays to reuse, got some: parts of several buffers become a new batch")
        shares = np.array([self.weights[tag] for tag in self.tags])
        drawn: dict[int, list[Any]] = {}
        missing = n
        while missing:
            if not shares.any():
                raise StateError("sample: expected experiences in a buffer that has a weight, got none: write() some first")
            counts = self._rng.multinomial(missing, shares / shares.sum())
            for place in np.flatnonzero(counts).tolist():
                try:
                    part = self.buffers[self.tags[place]].sample(int(counts[place]), **options)
                except StateError:
                    if len(self.buffers[self.tags[place]]):  # it has failed for another reason
                        raise
                    shares[place] = 0
                    continue
                drawn.setdefault(place, []).append(part)
                missing -= int(counts[place])
        return joined([(place, part) for place in sorted(drawn) for part in drawn[place]])

    def update_priorities(self, sample: MixedSample, priorities: npt.NDArray[Any]) -> int:
        """Set the priorities of a sample, in the buffers that have priorities.

        Args:
            sample: The sample.
            priorities: (n,) numbers of at least 0.

        Returns:
            Number of stale keys: their experiences had been dropped.

        Raises:
            ConfigError: If there is not one priority for each experience, or one is negative or not finite.
        """
        values = np.asarray(priorities, np.float64)
        if values.shape != sample.keys.shape or not (np.isfinite(values).all() and (values >= 0).all()):
            raise ConfigError(f"priorities: expected {len(sample.keys)} finite numbers of at least 0, got {priorities!r:.200}")
        stale = 0
        for place in np.unique(sample.sources[sample.keys >= 0]).tolist():
            chosen = sample.sources == place
            stale += self.buffers[self.tags[place]].update_priorities(sample.keys[chosen], values[chosen])  # type: ignore[attr-defined]
        return stale


def joined(parts: list[tuple[int, Any]]) -> MixedSample:
    """Return the sample of parts, each with the place of its buffer."""
    batches, sources, keys, weights = [], [], [], []
    for place, part in parts:
        prioritized = isinstance(part, PrioritizedSample)
        batch = part.batch if prioritized else part
        batches.append(batch)
        sources.append(np.full(len(batch), place, np.int32))
        keys.append(part.keys if prioritized else np.full(len(batch), -1, np.int64))
        weights.append(part.weights if prioritized else np.ones(len(batch), np.float32))
    whole = batches[0] if len(batches) == 1 else ExperienceBatch.concat(batches)
    return MixedSample(whole, np.concatenate(sources), np.concatenate(keys), np.concatenate(weights))
