"""Plays the games of a learner against its past selves: ``PoolGroup``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.config import GameConfig
from generals_env.learning.rollouts.game_group import GameGroup, Turn
from generals_env.learning.rollouts.opponent_mix import POOL
from generals_env.learning.self_play.pool import OpponentPool
from generals_env.recorders.training.masked_choice import drawn_legal

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(f'pool_group: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["PoolGroup"]


class PoolGroup(GameGroup):
    """B games, each against a member of a pool. The opponent is drawn anew when a game ends, or its member is removed.

    Attributes:
        pool: The pool.
        members: (B,) int64, number of the member that plays each game; -1 for one that is drawn before the next turn.
    """

    def __init__(
        self,
        games: int,
        config: GameConfig,
        seed: int,
        gamma: float,
        shaping: npt.NDArray[Any],
        pool: OpponentPool,
        autocast: Any,
    ) -> None:
        """Begin the games; arguments as of ``GameGroup``, and ``autocast``, which makes the context of the networks."""
        super().__init__(POOL, games, config, seed, gamma, shaping, opponent=refuse)
        self.pool = pool
        self._autocast = autocast
        self.members = np.full(games, -1, np.int64)

    def play(self, actions: npt.NDArray[np.int64]) -> Turn:
        """Play one turn with the actions (B,) of the learner, and count the games that end for their opponents."""
        turn = super().play(actions)
        ended = turn.terminated | turn.truncated
        won, lost = turn.outcomes > 0, turn.outcomes < 0
        for number in np.unique(self.members[ended]).tolist():
            of = self.members == number
            results = (int((won & of).sum()), int((lost & of).sum()), int((ended & ~won & ~lost & of).sum()))
            self.pool.count(number, results)
        self.members[ended] = -1
        return turn

    def _opponent_actions(self) -> npt.NDArray[np.int64]:
        """Return actions (B, 2) with those of the members, drawn with the probabilities of their networks."""
        waiting = ~np.isin(self.members, [member.number for member in self.pool.members])
        self.members[waiting] = self.pool.draw(int(waiting.sum()))
        tensors, masks = self.observations()
        height, width = self.venv.config.shape
        every = np.zeros((len(self.members), 2), np.int64)
        for number in np.unique(self.members).tolist():
            games = np.flatnonzero(self.members == number)
            rows = 2 * games + 1 - self.player[games]
            network = self.pool[number].network
            device = next(network.parameters()).device
            states = torch.from_numpy(tensors[rows]).view(len(rows), height, width, -1).permute(0, 3, 1, 2).to(device)
            legal = torch.from_numpy(masks[rows] != 0).to(device)
            with torch.no_grad(), self._autocast():
                logits, _ = network(states)
            uniforms = torch.from_numpy(self.pool.rng.random(len(rows), np.float32)).to(device)
            every[games, 1 - self.player[games]] = drawn_legal(logits, legal, uniforms).cpu().numpy()
        return every


def refuse(views: Any) -> npt.NDArray[np.int64]:
    """Stand for the pool, whose members choose actions by the boards of all their games at once."""
    raise NotImplementedError
