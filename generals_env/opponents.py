"""Who sits on the other seats of an environment for one player: built-in policies, callables on batches, torch modules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ConfigError

__all__ = ["POLICIES", "BatchPolicy", "as_policy"]

#: Names of the policies that the engine plays itself; the index is the engine's code.
POLICIES = ("random", "expander")

#: From observations (n, ...) of ``"observation"`` and ``"action_mask"`` to (n,) actions.
BatchPolicy = Callable[[Mapping[str, npt.NDArray[Any]]], npt.NDArray[np.integer[Any]]]


def as_policy(opponent: Any) -> BatchPolicy | str:
    """Return a built-in name as it is, anything else as a callable on batches.

    Args:
        opponent: A name of ``POLICIES``; a torch module from a dict of tensors to logits (n, actions), whose legal actions
            are sampled; an object with ``predict(observations, action_masks=...)`` as sb3-contrib's models have; or a
            callable on batches.

    Raises:
        ConfigError: If it is none of these.
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
    """Return whether ``thing`` is a torch module, without importing torch for those who have none."""
    return any(cls.__module__.startswith("torch.nn.") and cls.__name__ == "Module" for cls in type(thing).__mro__)


class TorchPolicy:
    """Samples the legal actions by a module's logits, with torch's own generator (``torch.manual_seed``)."""

    def __init__(self, module: Any) -> None:
        """Take a module from a dict of tensors to logits (n, actions)."""
        self.module = module

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.integer[Any]]:
        """Return (n,) actions."""
        import torch

        device = next(self.module.parameters(), torch.empty(0)).device
        with torch.no_grad():
            tensors = {name: torch.as_tensor(array, device=device) for name, array in views.items()}
            logits = self.module(tensors).float()
            # The Gumbel trick: no probabilities to normalise. What is not legal stays below all that is.
            noise = -torch.empty_like(logits).exponential_().clamp_min(1e-30).log()
            scores = torch.nan_to_num(logits + noise, nan=-1e30, neginf=-1e30)
            chosen = scores.masked_fill(tensors["action_mask"] == 0, -torch.inf).argmax(dim=1)
        actions: npt.NDArray[np.integer[Any]] = chosen.cpu().numpy()
        return actions


class ModelPolicy:
    """Asks a model of sb3-contrib, or anything else with its ``predict``."""

    def __init__(self, model: Any) -> None:
        """Take an object with ``predict(observations, action_masks=...)``."""
        self.model = model

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Return (n,) actions."""
        return self.model.predict(dict(views), action_masks=views["action_mask"])[0]
