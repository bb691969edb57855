"""The columns of recorded experience, once for all sinks, files and streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.sight import LAYOUTS, masks_of, views_of
from generals_env.errors import ConfigError

__all__ = ["ExperienceBatch"]


@dataclass(frozen=True, eq=False)
class ExperienceBatch:
    """Experiences of one or more games whose boards have one shape.

    An experience is what one player lived through in one turn::

        turn t                                turn t+1
        boards[state_index[i]] --action[i]--> boards[next_state_index[i]]
                 |                                     |
            states()[i]    reward[i], terminated[i]   next_states()[i]
            action_masks()[i]    truncated[i]         next_action_masks()[i]

    Boards are stored once, for all players and for both ends of a turn; tensors and masks are derived from them when asked
    for, bit for bit as the environment gave them. Boards follow one another in time; where a game is broken into (a
    surrender, a restored state, the start of a chunk) the board before the turn is stored anew. Applying the actions of all
    players of a turn to its board in the engine gives the next board. Every player has exactly one experience with
    ``terminated`` or ``truncated`` in a game that was played to its end, and no experience after it.

    Attributes:
        game_ids: One string a game.
        game: (n,) int32, index into ``game_ids``.
        player_id: (n,) int8.
        sequence: (n,) int64, gapless for each recorder.
        action: (n,) int32, the index executed; a pass where the action was illegal.
        illegal: (n,) bool, whether the action that was asked for was illegal.
        reward: (n,) float32.
        terminated: (n,) bool, whether the game ended for the player with this turn.
        truncated: (n,) bool, whether it was cut off after this turn.
        collected_at: (n,) int64, nanoseconds UTC.
        state_index: (n,) int32, board before the turn.
        next_state_index: (n,) int32, board after the turn.
        boards: The boards.
    """

    game_ids: tuple[str, ...]
    game: npt.NDArray[np.int32]
    player_id: npt.NDArray[np.int8]
    sequence: npt.NDArray[np.int64]
    action: npt.NDArray[np.int32]
    illegal: npt.NDArray[np.bool_]
    reward: npt.NDArray[np.float32]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    collected_at: npt.NDArray[np.int64]
    state_index: npt.NDArray[np.int32]
    next_state_index: npt.NDArray[np.int32]
    boards: Boards

    def __len__(self) -> int:
        """Return how many experiences there are."""
        return len(self.action)

    @property
    def shape(self) -> tuple[int, int]:
        """H and W of the boards, padding included."""
        game = self.boards.games[0]
        return int(game["height"]), int(game["width"])

    @property
    def turn(self) -> npt.NDArray[np.int32]:
        """(n,) int32, the board's turn before the action."""
        turns: npt.NDArray[np.int32] = self.boards.games["turn"][self.state_index]
        return turns

    @property
    def game_id(self) -> npt.NDArray[np.str_]:
        """(n,) strings."""
        return np.array(self.game_ids, np.str_)[self.game]

    def states(self, out: npt.NDArray[np.float32] | None = None, layout: str = "standard") -> npt.NDArray[np.float32]:
        """Return what each player observed before his action, (n, 9, H, W) float32, (n, 21, H, W) in the full layout.

        Args:
            out: Where to write it; a new array without.
            layout: ``"standard"`` or ``"full"``, whatever the environment showed.

        Raises:
            ConfigError: If ``out`` has another shape or dtype, or is not contiguous, or if there is no such layout.
        """
        return self._views(self.state_index, out, layout)

    def next_states(self, out: npt.NDArray[np.float32] | None = None, layout: str = "standard") -> npt.NDArray[np.float32]:
        """Return what each player observed after the turn; arguments and errors as in ``states``."""
        return self._views(self.next_state_index, out, layout)

    def action_masks(self, out: npt.NDArray[np.int8] | None = None) -> npt.NDArray[np.int8]:
        """Return what each player could do, (n, 8*H*W + 1) int8; ``out`` and errors as in ``states``."""
        return self._masks(self.state_index, out)

    def next_action_masks(self, out: npt.NDArray[np.int8] | None = None) -> npt.NDArray[np.int8]:
        """Return what each player could do after the turn, (n, 8*H*W + 1) int8; ``out`` and errors as in ``states``."""
        return self._masks(self.next_state_index, out)

    def _views(self, index: npt.NDArray[np.int32], out: npt.NDArray[np.float32] | None, layout: str) -> npt.NDArray[np.float32]:
        if layout not in tuple(LAYOUTS):
            raise ConfigError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
        height, width = self.shape
        channels = len(LAYOUTS[layout])
        array = checked_out(out, (len(self), channels, height, width), np.dtype(np.float32))
        views_of(self.boards, index, self.player_id, array.reshape(len(self), channels, height * width))
        return array

    def _masks(self, index: npt.NDArray[np.int32], out: npt.NDArray[np.int8] | None) -> npt.NDArray[np.int8]:
        height, width = self.shape
        array = checked_out(out, (len(self), 8 * height * width + 1), np.dtype(np.int8))
        masks_of(self.boards, index, self.player_id, array)
        return array


Scalar = TypeVar("Scalar", bound=np.generic)


def checked_out(out: npt.NDArray[Scalar] | None, shape: tuple[int, ...], dtype: np.dtype[Scalar]) -> npt.NDArray[Scalar]:
    """Return ``out`` if it fits, a new array if there is none."""
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ConfigError(
            f"out: expected a writeable contiguous {dtype} array of shape {shape}, got {out.dtype} of {out.shape}"
        )
    return out
