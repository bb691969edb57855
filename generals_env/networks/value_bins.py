"""Represents values as distributions over bins, trained by cross entropy with a smoothed target (HL-Gauss).

Imani and White, "Improving Regression Performance with Distributional Losses", ICML 2018; for values of reinforcement learning
Farebrother et al., "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL", ICML 2024, whose ratio
of 0.75 between the deviation of the target and the width of a bin is used here.
"""

from __future__ import annotations

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise ImportError(f'value_bins: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["ValueBins"]

#: Values lie between these: an outcome of -1 to 1, and shaping.
LOWEST, HIGHEST = -1.5, 1.5
DEVIATION = 0.75  # of the target, in widths of a bin


class ValueBins(nn.Module):
    """Bins of equal width from -1.5 to 1.5.

    Attributes:
        count: Number of bins.
    """

    def __init__(self, count: int) -> None:
        """Compute the edges and centres of ``count`` bins."""
        super().__init__()
        self.count = count
        edges = torch.linspace(LOWEST, HIGHEST, count + 1)
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("centres", (edges[1:] + edges[:-1]) / 2, persistent=False)
        self._scale = DEVIATION * (HIGHEST - LOWEST) / count * 2**0.5

    edges: Tensor
    centres: Tensor

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the mean values (n,) of logits (n, count)."""
        return outputs.softmax(1) @ self.centres

    def targets(self, values: Tensor) -> Tensor:
        """Return the shares of the bins (n, count) of a normal distribution around each value (n,), cut at the ends."""
        clipped = values.clamp(LOWEST, HIGHEST)
        below = torch.special.erf((self.edges - clipped[:, None]) / self._scale)
        shares = below[:, 1:] - below[:, :-1]
        targets: Tensor = shares / (below[:, -1:] - below[:, :1])
        return targets

    def loss(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return the cross entropy (n,) of logits (n, count) and the targets of values (n,)."""
        return -(self.targets(values) * outputs.log_softmax(1)).sum(1)
