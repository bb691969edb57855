"""Checks observations that policies are given."""

from __future__ import annotations

from typing import Any

from generals_env.arguments import shown
from generals_env.errors import ConfigError
from generals_env.observations.packed import PackedObservations

__all__ = ["check_packed", "observed_shape"]


def observed_shape(observations: Any, masks: Any) -> tuple[int, ...]:
    """Return the shape (...) of the states of observations (..., C, H, W) and masks (..., A).

    Raises:
        ConfigError: If they are no arrays or tensors of numbers, or their shapes do not fit each other.
    """
    for name, array, axes in (("observations", observations, 3), ("masks", masks, 1)):
        shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
        numeric = dtype is not None and getattr(dtype, "kind", "f") in "biuf"  # types of torch have no kind
        if not isinstance(shape, tuple) or len(shape) < axes or not numeric:
            raise ConfigError(f"{name}: expected an array or tensor of numbers with at least {axes} axes, got {shown(array)}")
    lead = tuple(masks.shape[:-1])
    if tuple(observations.shape[:-3]) != lead:
        raise ConfigError(
            f"masks: expected one for each observation of shape {tuple(observations.shape)}, got {tuple(masks.shape)}"
        )
    return lead


def check_packed(views: Any) -> PackedObservations:
    """Return packed observations; raise ``ConfigError`` for others."""
    if not isinstance(views, PackedObservations):
        raise ConfigError(f"views: expected PackedObservations, got {shown(views)}: pass what venv.packed() returns")
    return views
