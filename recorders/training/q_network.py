"""Defines a small dueling convolutional Q-network for boards of any size."""

from __future__ import annotations

import math
from collections.abc import Sequence

from generals_env.arguments import check_flag, check_integer
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise ImportError(f'q_network: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["QNetwork"]

SCALE = 1000.0  # army of an observation of 1


class Residual(nn.Module):
    """Residual block: two convolutions, and pooled features of the whole board added to each tile."""

    def __init__(self, channels: int) -> None:
        """Create the layers."""
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.whole = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of ``x``."""
        inner = torch.relu(self.first(x) + self.whole(pool_features(x))[:, :, None, None])
        return torch.relu(x + self.second(inner))


@pickled_as("generals_env.recorders")
class QNetwork(nn.Module):
    """Maps states (n, C, H, W) float32 to action values (n, A) float32, for boards of any size.

    The value of an action is the value of the state plus an advantage: Wang et al., "Dueling Network Architectures for Deep
    Reinforcement Learning", ICML 2016. The advantages of moves and builds are computed by convolutions, at their tiles.
    A = 8*H*W + 1, with builds 9*H*W + 1.
    """

    def __init__(self, state_shape: Sequence[int], channels: int = 32, blocks: int = 2, builds: bool = False) -> None:
        """Create the layers.

        Args:
            state_shape: Shape of one state, for example (9, 20, 20).
            channels: Features per tile.
            blocks: Number of residual blocks.
            builds: Whether the actions are those of the rules of the competition.

        Raises:
            ConfigError: If an argument is invalid.
        """
        super().__init__()
        if len(state_shape) != 3:
            raise ConfigError(f"state_shape: expected (C, H, W), got {tuple(state_shape)}: pass the shape of one observation")
        check_integer("channels", channels, 1, 4096)
        check_integer("blocks", blocks, 0, 1000)
        check_flag("builds", builds)
        first = nn.Conv2d(int(state_shape[0]), channels, 3, padding=1)
        self.features = nn.Sequential(first, nn.ReLU(), *(Residual(channels) for _ in range(blocks)))
        self.moves = nn.Conv2d(channels, 8, 1)
        self.passing = nn.Linear(2 * channels, 1)
        if builds:
            self.building = nn.Conv2d(channels, 1, 1)
        self.value = nn.Sequential(nn.Linear(2 * channels, 64), nn.ReLU(), nn.Linear(64, 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on a CPU

    @property
    def builds(self) -> bool:
        """Whether the actions are those of the rules of the competition."""
        return hasattr(self, "building")

    def forward(self, states: Tensor) -> Tensor:
        """Return the values, in the order of the actions."""
        # A logarithmic scale resolves small armies; flags of 0 and 1 are unchanged.
        x = torch.log1p(SCALE * states.clamp(min=0)) / math.log1p(SCALE)
        features = self.features(x.contiguous(memory_format=torch.channels_last))
        board = pool_features(features)
        moves = self.moves(features).unflatten(1, (2, 4)).permute(0, 1, 3, 4, 2)  # half, row, column, direction
        parts = [moves.flatten(1), self.passing(board)]
        if self.builds:
            parts.append(self.building(features).flatten(1))
        advantages = torch.cat(parts, dim=1)
        values: Tensor = self.value(board) + advantages - advantages.mean(1, keepdim=True)
        return values


def pool_features(features: Tensor) -> Tensor:
    """Return the mean and the maximum of each feature over the board, (n, 2 * channels)."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
