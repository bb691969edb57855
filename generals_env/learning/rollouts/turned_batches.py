"""Transforms batches of observations and masks by symmetries, for networks: ``turned``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.thread_pool import divided
from generals_env.engine.packed.turned_views import SymmetryTables, turn_planes_last, turn_rows
from generals_env.observations.packed import MIN_VIEWS, PackedObservations

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'turned_batches: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["turned"]

Index = npt.NDArray[np.int64]


def turned(views: PackedObservations, tables: SymmetryTables, symmetries: Index, device: Any = "cpu") -> tuple[Tensor, Tensor]:
    """Return the observations of packed boards and which actions are legal, transformed, as tensors on a device.

    Args:
        views: n observations.
        tables: The symmetries of their shape.
        symmetries: (n,) int64, the symmetry of each observation.
        device: A device of torch. On the CPU kernels transform, else torch does.

    Returns:
        (n, C, H, W) float32, channels last in memory, and (n, A) bool.
    """
    if torch.device(device).type == "cpu":
        return turned_by_kernels(views.expanded(), tables, symmetries)
    return turned_by_torch(views.to_torch(device), tables, symmetries)


def turned_by_torch(views: dict[str, Tensor], tables: SymmetryTables, symmetries: Index) -> tuple[Tensor, Tensor]:
    """Return transformed observations and masks on their device; see ``turned``."""
    planes, masks = views["observation"], views["action_mask"]
    tiles, actions = (torch.from_numpy(table[symmetries]).to(planes.device) for table in tables[:2])
    flat = planes.flatten(2)
    moved = flat.gather(2, tiles[:, None].expand(flat.shape)).view(planes.shape)
    return moved.contiguous(memory_format=torch.channels_last), masks.gather(1, actions) != 0


def turned_by_kernels(views: dict[str, npt.NDArray[Any]], tables: SymmetryTables, symmetries: Index) -> tuple[Tensor, Tensor]:
    """Return transformed observations and masks; see ``turned``."""
    planes, masks = views["observation"], views["action_mask"]
    count, channels, height, width = planes.shape
    flat = planes.reshape(count, channels, -1)
    tensors = np.empty((count, height * width, channels), np.float32)
    legal = np.empty(masks.shape, np.bool_)
    rows = np.arange(count)

    def write(low: int, high: int) -> None:
        turn_planes_last(flat, tables.tiles, symmetries, low, high, tensors)
        turn_rows(masks, rows, tables.actions, symmetries, low, high, legal)

    divided(write, count, MIN_VIEWS)
    last = torch.from_numpy(tensors).view(count, height, width, channels)
    return last.permute(0, 3, 1, 2), torch.from_numpy(legal)
