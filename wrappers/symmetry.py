"""Every game seen in one of the board's symmetries, drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.actions import check_actions
from generals_env.engine.symmetry import (
    INVERSE,
    KEEP_SHAPE,
    SYMMETRIES,
    Extents,
    Symmetries,
    draw_symmetries,
    transform_actions,
    transform_extents,
    transform_masks,
    transform_observations,
)
from generals_env.seeding import seed_states
from generals_env.wrappers.array_transform import ArrayTransform, Env, Flags, Observations, wrapped

__all__ = ["RandomSymmetry"]

#: Makes the stream of symmetries another one than that of the maps, which comes of the same seed (pi in hexadecimal).
SALT = np.uint64(0x3243F6A8885A308D)


class Turning(ArrayTransform):
    """Keeps the symmetry of every game.

    Attributes:
        symmetries: (B,) int64, see ``generals_env.engine.symmetry``.
    """

    name = "RandomSymmetry"

    def __init__(self, env: Any, seed: int | None) -> None:
        """Set the generators up; errors as in ``RandomSymmetry``."""
        super().__init__(env)
        count, self.board = self.games.num_envs, self.games.config.shape
        self.symmetries: Symmetries = np.zeros(count, np.int64)
        self._extents: Extents = np.tile(np.array(self.board, np.int64), (count, 1))
        self._drawn = SYMMETRIES if self.board[0] == self.board[1] else KEEP_SHAPE
        self._rng = seed_states(seed, count, fresh=True)[0] ^ SALT

    def begin(self, which: Flags, seed: Any = None) -> None:
        """Draw the symmetries of new games."""
        states, seeded = seed_states(seed, len(which), fresh=False)
        np.copyto(self._rng, states ^ SALT, where=which & seeded)
        draw_symmetries(self._rng, which, self._drawn, self.symmetries)
        games = self.games.batch.boards.games
        self._extents[which] = np.stack([games["rows"], games["columns"]], axis=1)[which]

    def observe(self, seen: Observations, begun: Flags, stepped: bool) -> Observations:
        """Return observations turned."""
        return self._turned(seen, self.symmetries, self._extents)

    def last(self, rows: npt.NDArray[np.intp], seen: Observations) -> Observations:
        """Return the last observations of games that ended, turned as those before."""
        return self._turned(seen, self.symmetries[rows], self._extents[rows])

    def actions(self, actions: Any) -> Any:
        """Return actions turned back."""
        shown = check_actions(actions, self.shape[:-3], self.games.config.actions)
        extents = transform_extents(self._extents, self.symmetries)
        return transform_actions(shown, INVERSE[self.symmetries], self.board, extents)

    def _turned(self, seen: Observations, symmetries: Symmetries, extents: Extents) -> Observations:
        return {
            "observation": transform_observations(seen["observation"], symmetries, extents),
            "action_mask": transform_masks(seen["action_mask"], symmetries, self.board, extents),
        }


def RandomSymmetry(env: Env, seed: int | None = None) -> Env:  # noqa: N802 - named as Gymnasium names wrappers
    """Return ``env`` with each game turned by a symmetry of the board, all its players' views alike.

    Observations and action masks are shown turned, actions are turned back: the game is another one to the learner only.
    Arrays that are square know all eight symmetries, others the four that keep their shape. ``change.symmetries`` of what
    is returned, (B,) int64, tells which are in force.

    Args:
        env: A ``GeneralsVector``, ``GeneralsSingleVector`` or ``GeneralsSingle``, wrapped or not.
        seed: For what is drawn until a ``reset`` with a seed: that begins the draws anew, so that a seed makes a game, and
            game i of many with seed ``s`` is the game of one environment with seed ``s + i``.

    Raises:
        ConfigError: If ``env`` is none of these, or the seed is not a non-negative integer.
    """
    return wrapped(env, Turning(env, seed), seed=seed)
