"""Sends the weights of a policy to workers through Ray's object store, as arrays that need no copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from generals_env.recorders.distributed.ray_actors.ray_session import import_ray
from generals_env.recorders.distributed.ray_actors.shared_arrays import writeable_view

__all__ = ["pack_weights", "unpack_weights"]


def pack_weights(weights: Any) -> tuple[bool, Any]:
    """Return weights in a form that Ray stores without a copy for each reader: tensors as arrays.

    Args:
        weights: A state dict of torch, on any device; or another object that the policy takes.

    Returns:
        Whether arrays are to become tensors again, and the weights.
    """
    if isinstance(weights, Mapping) and weights and all(hasattr(value, "detach") for value in weights.values()):
        return True, {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in weights.items()}
    return False, weights


def unpack_weights(stored: list[Any]) -> Any:
    """Return what ``pack_weights`` was given, from its result or a reference of Ray to it, in a list of one."""
    packed = stored[0]
    if not isinstance(packed, tuple):
        packed = import_ray().get(packed)
    are_tensors, weights = packed
    if not are_tensors:
        return weights
    import torch

    return {name: torch.from_numpy(writeable_view(array)) for name, array in weights.items()}
