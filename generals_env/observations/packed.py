"""Defines ``PackedObservations``: boards in two bytes a tile, from which a learner expands the observations that it needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.concurrency.thread_pool import divided
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.engine.packed.expand import expand_masks, expand_views
from generals_env.engine.packed.packing import PackedBoards
from generals_env.engine.rules.action_space import action_count

__all__ = ["PackedObservations"]

MIN_VIEWS = 64  # observations of a thread: waking it takes as long as some dozen of them


def only_pass(tiles: int, actions: int) -> npt.NDArray[np.int8]:
    """Return the mask that allows only the pass, (actions,) int8."""
    mask = np.zeros(actions, np.int8)
    mask[8 * tiles] = 1
    return mask


@dataclass(frozen=True, eq=False)
class PackedObservations:
    """Observations of players, as the packed boards of their games; they do not change when the environment goes on.

    ``observations[rows]`` has only some of them, with the same boards: rows of the first axis, as of an array.

    Attributes:
        boards: The packed boards.
        board: (B,) or (B, P) int32, the row of ``boards`` of each observation.
        player: int8, of the same shape, the player who observes.
        shown: bool, of the same shape; False for eliminated players of a running game, who observe zeros and may only pass.
        shape: H and W.
        layout: ``"standard"`` or ``"full"``.
    """

    boards: PackedBoards
    board: npt.NDArray[np.int32]
    player: npt.NDArray[np.int8]
    shown: npt.NDArray[np.bool_]
    shape: tuple[int, int]
    layout: str

    def __len__(self) -> int:
        """Return the length of the first axis."""
        return len(self.board)

    def __getitem__(self, rows: Any) -> PackedObservations:
        """Return the observations of some rows of the first axis: a slice, (n,) integers, or (B,) bool."""
        rows = slice(rows, rows + 1 or None) if isinstance(rows, (int, np.integer)) else rows
        return replace(self, board=self.board[rows], player=self.player[rows], shown=self.shown[rows])

    def expanded(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays: ``"observation"`` (..., C, H, W) float32, ``"action_mask"`` (..., A) int8.

        A = 8*H*W + 1; with the rules of the competition 9*H*W + 1.
        """
        height, width = self.shape
        board, player, gone = self.board.ravel(), self.player.ravel(), ~self.shown.ravel()
        channels = len(LAYOUTS[self.layout])
        tensors = np.empty((len(board), channels, height * width), np.float32)
        actions = action_count(int(self.boards.games[0]["version"]), height * width)
        masks = np.empty((len(board), actions), np.int8)

        def write(low: int, high: int) -> None:
            expand_views(self.boards, board, player, height, low, high, self.layout == "full", 0, tensors)
            expand_masks(self.boards, board, player, height, low, high, masks)

        divided(write, len(board), MIN_VIEWS)
        tensors[gone] = 0
        masks[gone] = only_pass(height * width, actions)
        lead = self.board.shape
        return {"observation": tensors.reshape(*lead, channels, height, width), "action_mask": masks.reshape(*lead, -1)}

    def to_torch(self, device: Any = "cpu") -> dict[str, Any]:
        """Return the arrays of ``expanded`` as torch tensors on a device, equal bit for bit.

        On a GPU the boards are uploaded and expanded there; on the CPU the engine's kernels do it, which are faster than torch.

        Args:
            device: A device of torch.

        Raises:
            ImportError: Without torch (``pip install "generals_env[torch]"``).
        """
        from generals_env.engine.packed.torch_boards import as_tensors, expand

        if str(device).startswith("cpu"):
            return as_tensors(self.expanded())
        lead = self.board.shape
        board, player, shown = self.board.ravel(), self.player.ravel(), self.shown.ravel()
        tensors, masks = expand(self.boards, board, player, shown, self.shape, self.layout == "full", device)
        return {"observation": tensors.view(*lead, *tensors.shape[1:]), "action_mask": masks.view(*lead, -1)}
