"""Implements ``RandomSymmetry``, a wrapper that applies a random rotation or reflection of the board to each game."""

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

#: Makes the random stream of symmetries differ from that of maps, which has the same seed (pi in hexadecimal).
SALT = np.uint64(0x3243F6A8885A308D)


class Turning(ArrayTransform):
    """Transform that holds the symmetry of each game.

    Attributes:
        symmetries: (B,) int64, codes of ``generals_env.engine.symmetry``.
    """

    name = "RandomSymmetry"

    def __init__(self, env: Any, seed: int | None) -> None:
        """Seed the generators; errors as in ``RandomSymmetry``."""
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
        """Return the transformed observations."""
        return self._turned(seen, self.symmetries, self._extents)

    def last(self, rows: npt.NDArray[np.intp], seen: Observations) -> Observations:
        """Return the final observations of games that ended, with their symmetry."""
        return self._turned(seen, self.symmetries[rows], self._extents[rows])

    def actions(self, actions: Any) -> Any:
        """Return the actions on the original board."""
        shown = check_actions(actions, self.shape[:-3], self.games.config.actions)
        extents = transform_extents(self._extents, self.symmetries)
        return transform_actions(shown, INVERSE[self.symmetries], self.board, extents)

    def _turned(self, seen: Observations, symmetries: Symmetries, extents: Extents) -> Observations:
        return {
            "observation": transform_observations(seen["observation"], symmetries, extents),
            "action_mask": transform_masks(seen["action_mask"], symmetries, self.board, extents),
        }


def RandomSymmetry(env: Env, seed: int | None = None) -> Env:  # noqa: N802 - named as Gymnasium names wrappers
    """Return ``env`` with a random symmetry of the board applied to each game, the same for all its players.

    Observations and action masks are transformed, and actions are transformed back, so the game itself is not changed. Square
    boards have all eight symmetries, others the four that keep their shape. ``change.symmetries`` of the result, (B,) int64,
    holds the current symmetry of each game.

    Args:
        env: A ``GeneralsVector``, ``GeneralsSingleVector`` or ``GeneralsSingle``, wrapped or not.
        seed: Seed of the symmetries until ``reset`` is called with a seed, which seeds them, too: game i of a vector
            environment with seed ``s`` equals the game of a single environment with seed ``s + i``.

    Raises:
        ConfigError: If ``env`` is not one of these, or the seed is not a non-negative integer.
    """
    return wrapped(env, Turning(env, seed), seed=seed)
