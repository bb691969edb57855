"""Plays games of two players on many maps at once, each game once: ``Table``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arena.diagnostics import Figures
from generals_env.arena.game_kind import map_seed
from generals_env.arena.players import Player
from generals_env.config import GameConfig
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.turn_outcome import DRAWS, TURNS, WINS
from generals_env.seeding import seed_state

__all__ = ["Table"]

#: Added to the states of random numbers where the seats are swapped: equal policies would play the same game twice.
SWAPPED = np.uint64(0xA0761D6478BD642F)


class Table:
    """Games of two players who keep their seats, on several maps.

    A game depends on its map and its players only, not on the other games of the table.

    Attributes:
        players: The player of each seat.
        maps: Numbers of the maps.
        batch: The games.
        turn: Turns played.
        draws: (n, 2) uint64, the state from which the random numbers of each seat come.
        actions: (turns, n, 2) int32 actions as executed, if they are kept.
        figures: Diagnostics.
    """

    def __init__(
        self,
        config: GameConfig,
        players: tuple[Player, Player],
        maps: Sequence[int],
        seed: int,
        swapped: bool = False,
        keeps: bool = False,
    ) -> None:
        """Draw the maps.

        Args:
            config: Options of the games.
            players: The player of each seat.
            maps: Numbers of the maps.
            seed: Seed of the run.
            swapped: Whether these games are the second ones of their maps.
            keeps: Whether to keep the actions.

        Raises:
            ConfigError: If no fair map was found.
        """
        sizes, densities = config.map_parameters()
        channels = max(player.channels for player in players)
        count = len(maps)
        self.config = config
        self.players = players
        self.maps = list(maps)
        self.batch = Batch(
            config.empty_boards(count),
            config.reward.weights(),
            config.max_turns,
            sizes,
            densities,
            template=config.template(),
            channels=channels,
        )
        states = np.array([seed_state(map_seed(seed, number))[0] for number in maps], np.uint64)
        everything = np.ones(count, np.bool_)
        self.batch.seed(states, everything)
        if swapped:
            self.batch.policy_rng ^= SWAPPED
        self.draws = self.batch.policy_rng.copy()
        if not self.batch.reset(everything):
            raise config.no_map()
        self.turn = 0
        self.actions: list[npt.NDArray[np.int32]] = []
        self._keeps = keeps
        self._codes = np.array([player.code for player in players], np.int64)
        self.figures = Figures(self.batch)

    @property
    def going(self) -> npt.NDArray[np.bool_]:
        """(n,) bool, games that have not ended."""
        return np.asarray(self.batch.outcome.active.any(axis=1), np.bool_)

    def views(self, seat: int, games: npt.NDArray[np.intp]) -> dict[str, npt.NDArray[Any]]:
        """Return what the player of a seat sees in some games: observation (n, C, H, W) float32 and action_mask (n, A) int8."""
        height, width = self.config.shape
        channels = self.players[seat].channels
        tensors = self.batch.views.observations[games, seat, :, :channels].transpose(0, 2, 1)
        return {
            "observation": np.ascontiguousarray(tensors).reshape(len(games), channels, height, width),
            "action_mask": self.batch.views.masks[games, seat],
        }

    def step(self) -> None:
        """Play one turn with the actions in ``batch.outcome`` and those of built-in policies."""
        going = self.going
        self.batch.step(self._codes)
        self.turn += 1
        if self._keeps:
            self.actions.append(self.batch.outcome.actions.astype(np.int32))
        self.figures.observe(self.turn, going, self.going)

    def winner(self, game: int) -> int:
        """Return the seat that won a game, -1 without one."""
        wins = self.batch.outcome.counts[game, WINS:]
        return int(wins.argmax()) if wins.any() else -1

    def turns(self, game: int) -> int:
        """Return the number of turns of a game."""
        return int(self.batch.outcome.counts[game, TURNS])

    def drawn(self, game: int) -> bool:
        """Return whether a game ended without a winner before the turn limit."""
        return bool(self.batch.outcome.counts[game, DRAWS])
