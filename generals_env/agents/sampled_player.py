"""Plays by the logits of a network: draws each action from its probabilities, as in its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.agents.numpy_layers import Floats
from generals_env.errors import ConfigError

__all__ = ["LogitsNetwork", "SampledPlayer", "draw_actions", "legal_shares"]


class LogitsNetwork(Protocol):
    """What computes the logits of actions.

    Attributes:
        channels: Channels of the observations, 9 or 21.
        builds: Whether there are logits of builds.
    """

    channels: int
    builds: bool

    def logits(self, observations: Floats) -> Floats:
        """Return the logits (n, A) float32 for observations (n, C, H, W) float32."""


class SampledPlayer:
    """A policy for batches of observations (``opponents.BatchPolicy``) that draws from the probabilities of a network.

    It remembers nothing between turns. The most probable action instead of a drawn one (``temperature=0``) can repeat a
    position for ever, which a policy that was trained by drawing never learned to leave.

    Attributes:
        network: The network.
        channels: Channels of the observations that it takes: 9 of the layout standard, 21 of full.
        temperature: Divides the logits: below 1 the more probable actions get more probable, 0 plays the most probable one.
        step: Entries that the network was trained on, or 0.
        made: How the network was made.
    """

    def __init__(
        self,
        network: LogitsNetwork,
        temperature: float = 1.0,
        seed: int | None = None,
        *,
        step: int = 0,
        made: Mapping[str, Any] | None = None,
    ) -> None:
        """Play by ``network``.

        Args:
            network: See the attribute.
            temperature: See the attribute.
            seed: Seed of the draws; None for a random one.
            step: See the attribute.
            made: See the attribute.

        Raises:
            ConfigError: If the temperature is not a number from 0 to 100.
        """
        number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
        if not number or not 0 <= temperature <= 100:
            raise ConfigError(f"temperature: expected a number from 0 to 100, got {temperature!r:.80}")
        self.network = network
        self.channels = network.channels
        self.temperature = float(temperature)
        self.step = step
        self.made = dict(made or {})
        self._rng = np.random.default_rng(seed)

    def reseed(self, seed: int | Sequence[int] | None) -> None:
        """Begin the draws anew, None: at random."""
        self._rng = np.random.default_rng(seed)

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
        """Return actions (n,) for observations (n, C, H, W) and masks (n, A).

        Observations of the layout full fit a network of the layout standard, whose channels they begin with; masks with builds
        fit a network without them, which then builds nothing.

        Raises:
            ConfigError: If the observations have too few channels, or the masks do not fit the board and the network.
        """
        return draw_actions(self.probabilities(views), self._rng)

    def probabilities(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
        """Return the probabilities (n, A) float64 from which actions are drawn, for callers that draw themselves.

        Raises:
            ConfigError: As in ``__call__``.
        """
        observations, masks = views["observation"], np.asarray(views["action_mask"])
        if observations.ndim != 4 or observations.shape[1] not in {self.channels, 21}:
            raise ConfigError(
                f"observation: expected {self.channels} channels, as in the training of the network, got "
                f'{observations.shape[1:]}: play with {self.layout!r}, as in make(observation="{self.layout}")'
            )
        tiles = observations.shape[2] * observations.shape[3]
        wanted = {9 * tiles + 1} if self.network.builds else {8 * tiles + 1, 9 * tiles + 1}
        if masks.shape[1] not in wanted:
            raise ConfigError(
                f"action_mask: expected {' or '.join(map(str, sorted(wanted)))} actions, as in the training of the network, "
                f"got {masks.shape[1]}: play with the same rules, or train another network"
            )
        logits = self.network.logits(np.ascontiguousarray(observations[:, : self.channels], np.float32))
        return legal_shares(logits, masks, self.temperature)

    @property
    def layout(self) -> str:
        """The layout of the observations."""
        return "full" if self.channels > 9 else "standard"


def legal_shares(logits: Floats, masks: npt.NDArray[Any], temperature: float) -> npt.NDArray[np.float64]:
    """Return the probabilities (n, A) of legal actions.

    Args:
        logits: (n, A) or, without builds, (n, A - H*W). NaN counts as the lowest.
        masks: (n, A), nonzero for legal actions.
        temperature: Divides the logits; 0 gives the most probable action all.
    """
    count = logits.shape[1]
    shares = np.zeros(masks.shape)
    legal = masks[:, :count] != 0
    kept = np.where(legal, np.nan_to_num(logits.astype(np.float64), nan=-1e30, posinf=1e30, neginf=-1e30), -np.inf)
    highest = kept.max(axis=1, keepdims=True)
    if temperature == 0:
        shares[np.arange(len(kept)), kept.argmax(axis=1)] = 1
        return shares
    with np.errstate(invalid="ignore"):  # where nothing is legal
        weights = np.where(legal, np.exp((kept - highest) / temperature), 0)
    shares[:, :count] = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    return shares


def draw_actions(shares: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return actions (n,) drawn from probabilities (n, A); one of probability 0 is never drawn."""
    sums = np.cumsum(shares, axis=1)
    aims = rng.random(len(shares)) * sums[:, -1]
    aims = np.minimum(aims, np.nextafter(sums[:, -1], 0))
    actions: npt.NDArray[np.int64] = np.minimum((sums <= aims[:, None]).sum(axis=1), shares.shape[1] - 1)
    return actions
