"""Converts the ``opponent`` argument of single-player environments to a policy for batches of observations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError

__all__ = ["POLICIES", "BatchPolicy", "as_policy"]

#: Names of the policies built into the engine; the index is the code that the engine uses.
POLICIES = ("random", "expander")

#: Maps a dict of ``"observation"`` (n, C, H, W) and ``"action_mask"`` (n, A) to actions (n,).
BatchPolicy = Callable[[Mapping[str, npt.NDArray[Any]]], npt.NDArray[np.integer[Any]]]


def as_policy(opponent: Any) -> BatchPolicy | str:
    """Return the name of a built-in policy as is, and any other opponent as a callable on batches.

    Args:
        opponent: A name of ``POLICIES``; a torch module that maps a dict of tensors to logits (n, actions), from which legal
            actions are sampled; a model with ``predict(observations, action_masks=...)`` as in sb3-contrib; or a callable
            on batches (``BatchPolicy``).

    Raises:
        ConfigError: If it is not one of these.
    """
    if isinstance(opponent, str) and opponent in POLICIES:
        return opponent
    if is_torch_module(opponent):
        return TorchPolicy(opponent)
    if hasattr(opponent, "predict"):
        return ModelPolicy(opponent)
    if not callable(opponent):
        raise ConfigError(
            f"opponent: expected one of {', '.join(POLICIES)}, a callable, a torch module or a model, got {opponent!r:.200}"
        )
    policy: BatchPolicy = opponent
    return policy


def is_torch_module(thing: Any) -> bool:
    """Return whether ``thing`` is a torch module, without importing torch."""
    return any(cls.__module__.startswith("torch.nn.") and cls.__name__ == "Module" for cls in type(thing).__mro__)


class TorchPolicy:
    """Samples legal actions from the logits of a torch module, with torch's global generator (``torch.manual_seed``)."""

    def __init__(self, module: Any) -> None:
        """Wrap a module that maps a dict of tensors to logits (n, actions)."""
        self.module = module

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.integer[Any]]:
        """Return (n,) actions."""
        import torch

        device = next(self.module.parameters(), torch.empty(0)).device
        with torch.no_grad():
            tensors = {name: torch.as_tensor(array, device=device) for name, array in views.items()}
            logits = self.module(tensors).float()
            # Gumbel-max sampling needs no normalised probabilities. Illegal actions stay below all legal ones.
            noise = -torch.empty_like(logits).exponential_().clamp_min(1e-30).log()
            scores = torch.nan_to_num(logits + noise, nan=-1e30, neginf=-1e30)
            chosen = scores.masked_fill(tensors["action_mask"] == 0, -torch.inf).argmax(dim=1)
        actions: npt.NDArray[np.integer[Any]] = chosen.cpu().numpy()
        return actions


class ModelPolicy:
    """Chooses the actions that ``predict`` of a model of sb3-contrib returns."""

    def __init__(self, model: Any) -> None:
        """Wrap an object with ``predict(observations, action_masks=...)``."""
        self.model = model

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Return (n,) actions."""
        return self.model.predict(dict(views), action_masks=views["action_mask"])[0]
