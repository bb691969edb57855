"""Expands a batch to torch tensors on a device: uploads the boards, and derives states and masks there.

``generals_env.engine.packed.torch_boards`` derives one board; here are experiences with both ends, stacked frames and memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.observations.reference import LAYOUTS
from generals_env.engine.packed.torch_boards import (
    Decoded,
    decode,
    look_at,
    referred_to,
    rows_of,
    upload,
    write_memory,
    write_moves,
    write_view,
)
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as
from generals_env.recorders.experience.stacked_frames import frames_back

if TYPE_CHECKING:
    from generals_env.recorders.experience.data import ExperienceData
    from generals_env.recorders.experience.recipe import Recipe
    from generals_env.recorders.experience.tensors import Tensors

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise ImportError(f'to_torch: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["TorchTensors", "as_torch", "expand_on"]

MAX_TILES = 1 << 22  # expanded at a time: intermediate tensors take about 30 bytes per tile

Index = npt.NDArray[np.integer[Any]]


@pickled_as("generals_env.recorders")
class TorchTensors(NamedTuple):
    """The arrays of ``Tensors`` for n experiences, as torch tensors on one device.

    Attributes:
        states: (n, C, H, W) float32; dense observations of custom wrappers keep their shape and dtype.
        actions: (n,) int64.
        rewards: (n,) float32.
        next_states: (n, C, H, W), as ``states``.
        terminated: (n,) bool.
        truncated: (n,) bool.
        action_masks: (n, A) int8, A = 8*H*W + 1, with the rules of the competition 9*H*W + 1.
        next_action_masks: (n, A) int8.
        steps: (n,) int16, turns between state and next state.
    """

    states: Tensor
    actions: Tensor
    rewards: Tensor
    next_states: Tensor
    terminated: Tensor
    truncated: Tensor
    action_masks: Tensor
    next_action_masks: Tensor
    steps: Tensor


def as_torch(tensors: Tensors) -> TorchTensors:
    """Return arrays as torch tensors that share their memory."""
    return TorchTensors(*map(torch.from_numpy, tensors))


def expand_on(batch: ExperienceData, device: Any) -> TorchTensors:
    """Expand a batch on a device; see ``ExperienceBatch.to_torch``. Uploads only the boards that are needed, each once.

    Args:
        batch: The experiences.
        device: A device of torch.

    Raises:
        ConfigError: If the recipe includes the memory of the players, and the boards have none.
    """
    recipe = batch.recipe if batch.dense is None else None  # of observations that are derived from boards
    frames = recipe.frames if recipe else 1
    recalled = bool(recipe and recipe.memory and len(batch))
    if recalled and not len(batch.boards.memory):
        raise ConfigError("recipe: expected boards with the memory of the players, got none: record with FogMemory")
    previous = batch.boards.entries["previous"]
    ends = (batch.state_index, batch.next_state_index)
    both = [index for end in ends for index in frames_back(previous, end, frames, repeat_first=True)]
    rows, places = referred_to(len(batch.boards.tiles), both)
    boards = decode(batch.boards, rows, batch.shape, bool(recipe and recipe.layout == "full"), device)
    known: Tensor | None = None
    memory_rows: list[Index] = []
    if recalled:
        held = batch.boards.memory.view(np.int16).reshape(-1, *batch.shape)  # torch has no arithmetic for uint16
        places_held = [index.astype(np.int64) * batch.players + batch.player_id for index in both]
        pairs, memory_rows = referred_to(len(held), places_held)
        known = upload(rows_of(held, pairs), device)
    player = upload(batch.player_id.astype(np.int64), device)
    before, after = (
        expand_end(
            boards,
            [upload(index, device) for index in places[end]],
            player,
            recipe,
            batch.recipe.actions(batch.shape),
            known,
            [upload(index, device) for index in memory_rows[end]],
        )
        for end in (slice(frames), slice(frames, None))
    )
    states, next_states = before[0], after[0]
    if batch.dense is not None:
        dense = batch.dense.copied()
        observations = upload(dense.observations, device)
        states, next_states = (observations[upload(index, device).long()] for index in (dense.before, dense.after))
    return TorchTensors(
        states,
        upload(batch.action.astype(np.int64), device),
        upload(batch.rewards(), device),
        next_states,
        upload(batch.terminated, device),
        upload(batch.truncated, device),
        before[1],
        after[1],
        upload(batch.steps, device),
    )


# --- On the device ------------------------------------------------------------------------------------------------


def expand_end(
    boards: Decoded,
    chain: Sequence[Tensor],
    player: Tensor,
    recipe: Recipe | None,
    actions: int,
    known: Tensor | None,
    memory_rows: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Return observations and masks before or after the turns of n experiences.

    Args:
        boards: The boards.
        chain: (n,) int64, the board in each frame, newest first.
        player: (n,) int64.
        recipe: How observations are derived; None to derive none.
        actions: Number of actions.
        known: (K, H, W) int16, bits of the memory of players; None without memory.
        memory_rows: (n,) int64, row of ``known`` for each frame.

    Returns:
        (n, C, H, W) float32, without channels if there is no recipe, and (n, actions) int8.
    """
    count, (height, width), device = len(player), boards.code.shape[1:], player.device
    frames, channels = (recipe.frames, recipe.channels) if recipe else (0, 0)
    views = torch.empty((count, frames * channels, height, width), dtype=torch.float32, device=device)
    masks = torch.empty((count, actions), dtype=torch.int8, device=device)
    step = max(MAX_TILES // (height * width), 1)
    for low in range(0, count, step):
        part = slice(low, low + step)
        for age, index in enumerate(chain):
            look = look_at(boards, index[part], player[part])
            if age == 0:
                write_moves(boards, look, masks[part])
            if recipe is None:
                continue
            frame = views[part, (frames - 1 - age) * channels : (frames - age) * channels]
            write_view(boards, look, recipe.layout == "full", frame)
            if known is not None:
                planes = frame[:, len(LAYOUTS[recipe.layout]) :]
                write_memory(known[memory_rows[age][part]], boards.thousandths, recipe.layout == "full", planes)
    return views, masks
