"""Defines the network of the policy gradient learners: logits for each tile and direction, and a value; boards of any size."""

from __future__ import annotations

import math
from typing import Any

from generals_env.arguments import check_flag, check_integer
from generals_env.engine.observations.reference import FULL_CHANNELS, LAYOUTS
from generals_env.errors import ConfigError
from generals_env.networks.value_bins import ValueBins

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise ImportError(f'policy_network: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["PolicyNetwork"]

SCALE = 1000.0  # army of an observation of 1
POOLED = 2  # mean and maximum

#: Channels of armies: they are converted to logarithms, so that small differences count.
ARMIES = tuple(k for k, name in enumerate(FULL_CHANNELS) if name.endswith(("_army", "_total")))


class Residual(nn.Module):
    """Residual block: two convolutions; the pooled features of the whole board are added to each tile between them."""

    def __init__(self, channels: int) -> None:
        """Create the layers."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.board = nn.Linear(POOLED * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of ``x``."""
        inner = torch.relu(self.first(x) + self.board(pooled(x))[:, :, None, None])
        return torch.relu(x + self.second(inner))


class PolicyNetwork(nn.Module):
    """Maps observations (n, C, H, W) float32 to logits (n, A) of the actions and values (n,), for boards of any size.

    One plane of logits for each direction of all-but-one moves and of half moves, one for builds by the rules of the
    competition, and a logit of the pass. A = 8*H*W + 1, with builds 9*H*W + 1. The value is one number, or the mean of a
    distribution over bins (HL-Gauss, see ``ValueBins``).

    Attributes:
        layout: Layout of the observations, ``"standard"`` or ``"full"``.
        builds: Whether the actions are those of the rules of the competition.
        bins: The bins of the value; None if it is one number.
    """

    def __init__(
        self, layout: str = "full", channels: int = 32, blocks: int = 2, builds: bool = False, value_bins: int = 0
    ) -> None:
        """Create the layers.

        Args:
            layout: Layout of the observations.
            channels: Features per tile.
            blocks: Number of residual blocks.
            builds: See the attribute.
            value_bins: Number of bins of the value, 0 for one number.

        Raises:
            ConfigError: If an argument is invalid.
        """
        super().__init__()
        if not isinstance(layout, str) or layout not in LAYOUTS:
            raise ConfigError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r:.200}")
        check_integer("channels", channels, 1, 4096)
        check_integer("blocks", blocks, 0, 1000)
        check_integer("value_bins", value_bins, 0, 1024)
        self.layout = layout
        self.builds = check_flag("builds", builds)
        self.bins = ValueBins(value_bins) if value_bins else None
        inputs = len(LAYOUTS[layout])
        self._armies = [k for k in ARMIES if k < inputs]
        first = nn.Conv2d(inputs, channels, 3, padding=1)
        self.features = nn.Sequential(first, nn.ReLU(), *(Residual(channels) for _ in range(blocks)))
        self.moves = nn.Conv2d(channels, 8 + builds, 1)
        self.passing = nn.Linear(POOLED * channels, 1)
        self.value = nn.Sequential(nn.Linear(POOLED * channels, 128), nn.ReLU(), nn.Linear(128, value_bins or 1))
        with torch.no_grad():  # begin with nearly equal probabilities of all legal actions
            self.moves.weight *= 0.1
            self.passing.weight *= 0.1
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU

    def options(self) -> dict[str, Any]:
        """Return the arguments that make a network of this shape."""
        return {
            "layout": self.layout,
            "channels": self.moves.in_channels,
            "blocks": len(self.features) - 2,
            "builds": self.builds,
            "value_bins": self.bins.count if self.bins else 0,
        }

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, A) and outputs of the value head: (n,), or (n, bins); ``values`` makes values of these."""
        x = observations.to(memory_format=torch.channels_last, copy=True)
        x[:, self._armies] = torch.log1p(SCALE * x[:, self._armies].clamp(min=0)) / math.log1p(SCALE)
        features = self.features(x)
        board = pooled(features)
        planes = self.moves(features)
        moves = planes[:, :8].unflatten(1, (2, 4)).permute(0, 1, 3, 4, 2)  # half, row, column, direction
        parts = [moves.flatten(1), self.passing(board)]
        if self.builds:
            parts.append(planes[:, 8].flatten(1))
        outputs = self.value(board)
        return torch.cat(parts, dim=1), outputs if self.bins else outputs.squeeze(1)

    def values(self, outputs: Tensor) -> Tensor:
        """Return the values (n,) float32 of outputs of the value head."""
        return self.bins.mean(outputs.float()) if self.bins else outputs.float()

    def value_loss(self, outputs: Tensor, returns: Tensor) -> Tensor:
        """Return the loss (n,) of outputs of the value head: squared error, or cross entropy of HL-Gauss."""
        if self.bins:
            return self.bins.loss(outputs.float(), returns)
        return (outputs.float() - returns).square()


def pooled(features: Tensor) -> Tensor:
    """Return the mean and the maximum of each feature over the board, (n, 2 * channels)."""
    # Four times as fast as ``amax``, whose gradient is divided among equal maxima.
    return torch.cat([features.mean((2, 3)), nn.functional.adaptive_max_pool2d(features, 1).flatten(1)], dim=1)
