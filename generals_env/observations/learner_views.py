"""Implements the methods by which vector environments hand out their observations without converting or copying them."""

from __future__ import annotations

from typing import Any

import numpy as np

from generals_env.config import GameConfig
from generals_env.engine.observations.tile_codes import BLANK
from generals_env.engine.packed.packing import pack
from generals_env.engine.simulation.batch import Batch
from generals_env.observations.packed import PackedObservations

__all__ = ["LearnerViews"]


class LearnerViews:
    """Methods of ``VectorBase`` for observations that a learner takes as they are."""

    num_envs: int
    config: GameConfig
    batch: Batch
    _tensors: Any

    def _view(self, array: Any) -> Any:
        """Return the part of an array (B, P, ...) that the environment shows."""
        raise NotImplementedError

    def _require_started(self, name: str) -> None:
        """Raise ``StateError`` before the first reset and after ``close``."""
        raise NotImplementedError

    def to_torch(self) -> dict[str, Any]:
        """Return the current observations as torch tensors that share the environment's memory, whatever ``copy`` is.

        No value is copied. Each reset and step overwrites the tensors, so one call is enough; do not write to them. In memory
        the channels of a tile lie side by side, which is torch's ``channels_last``:
        ``venv.to_torch()["observation"].flatten(0, 1)`` of all players is contiguous in that format.

        Raises:
            ImportError: Without torch (``pip install "generals_env[torch]"``).
            StateError: Before the first reset, or after ``close``.
        """
        from generals_env.engine.packed.torch_boards import as_tensors

        self._require_started("to_torch")
        return as_tensors({"observation": self._view(self._tensors), "action_mask": self._view(self.batch.views.masks)})

    def packed(self) -> PackedObservations:
        """Return the current observations as packed boards, two bytes a tile; they are float32 whatever ``dtype`` is.

        A learner expands all or some of them, on the CPU or a GPU: ``venv.packed()[games].to_torch("cuda")``.

        Raises:
            StateError: Before the first reset, or after ``close``.
        """
        self._require_started("packed")
        count, players = self.num_envs, self.config.players
        board = np.repeat(np.arange(count, dtype=np.int32)[:, None], players, axis=1)
        player = np.tile(np.arange(players, dtype=np.int8), (count, 1))
        shown = self.batch.views.tile_codes[:, :, 0] != BLANK
        return PackedObservations(
            pack(self.batch.boards),
            self._view(board),
            self._view(player),
            self._view(shown),
            self.config.shape,
            self.config.observation,
        )
