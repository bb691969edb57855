"""Moves the weights of a ``MixedSampler`` over time, from recorded games to games of the learner for example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from generals_env.arguments import is_number
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

__all__ = ["MixSchedule"]


@pickled_as("generals_env.recorders")
class MixSchedule:
    """Weights at some shares of a training, and in between by linear interpolation.

    Examples:
        >>> schedule = MixSchedule({0.0: {"games": 1}, 0.5: {"games": 1}, 1.0: {"games": 1, "own": 3}})
        >>> schedule.weights(0.75)
        {'games': 1.0, 'own': 1.5}

    Attributes:
        shares: The shares of the training with given weights, rising.
        tags: Names of all buffers.
    """

    def __init__(self, points: Mapping[float, Mapping[str, float]]) -> None:
        """Set the weights.

        Args:
            points: Weights by tag at shares of the training, 0 to 1; a tag that is left out has 0 there. Before the first share
                and after the last one, weights stay as they are there.

        Raises:
            ConfigError: If there is no point, a share is not from 0 to 1, or weights are negative, not finite or all 0.
        """
        if not isinstance(points, Mapping) or not points:
            raise ConfigError(f"points: expected weights by shares of the training, got {points!r:.200}: pass a dict")
        for share, weights in points.items():
            if not is_number(share) or not 0 <= share <= 1:
                raise ConfigError(f"points: expected shares from 0 to 1, got {share!r:.80}")
            fits = isinstance(weights, Mapping) and all(is_number(one) and 0 <= one < np.inf for one in weights.values())
            if not fits or not any(weights.values()):
                raise ConfigError(f"points: expected weights of at least 0, and one above 0, got {weights!r:.200} at {share}")
        self.shares: Sequence[float] = sorted(float(share) for share in points)
        self.tags = tuple(dict.fromkeys(tag for share in sorted(points) for tag in points[share]))
        self._table = np.array([[float(points[share].get(tag, 0)) for tag in self.tags] for share in sorted(points)])

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weight of each tag, for ``MixedSampler.set_weights``.

        Args:
            progress: Share of the training that has passed; below 0 counts as 0, above 1 as 1.

        Raises:
            ConfigError: If it is not a number.
        """
        if not is_number(progress):
            raise ConfigError(f"progress: expected a number from 0 to 1, got {progress!r:.80}")
        return {tag: float(np.interp(progress, self.shares, self._table[:, place])) for place, tag in enumerate(self.tags)}
