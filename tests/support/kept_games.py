"""Keeps games as ``RecordedGame`` that an environment plays, for pages and pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

import generals_env
from generals_env.collector import Transition
from generals_env.engine.boards import Boards, copy_boards
from generals_env.replay.recorded_game import RecordedGame


class Keeper:
    """A collector that keeps all boards, actions and rewards of one game."""

    def __init__(self) -> None:
        self.boards: list[Boards] = []
        self.actions: list[Any] = []
        self.rewards: list[Any] = []

    def on_state_transition(self, transition: Transition) -> None:
        if not self.boards:
            self.boards.append(copy_boards(transition.boards, slice(0, 1)))
        self.boards.append(copy_boards(transition.boards, slice(1, 2)))
        self.actions.append(transition.actions.copy())
        self.rewards.append(transition.rewards.copy())

    def on_game_end(self) -> None:
        pass

    def game(self, **facts: Any) -> RecordedGame:
        boards = Boards._make(np.concatenate(fields) for fields in zip(*self.boards, strict=True))
        return RecordedGame(boards=boards, actions=np.array(self.actions), rewards=np.array(self.rewards), **facts)


def sampled_game(seed: int = 0, surrender: int = -1, env: Any = None, **options: Any) -> RecordedGame:
    """Return a game of players who choose among their legal actions, half of the time a build if there is one.

    Args:
        seed: Of the map and of the choices.
        surrender: Turn in which the last player surrenders; -1 for none.
        env: A parallel environment; None makes one with ``options``.
        options: Of the environment.
    """
    env = generals_env.parallel_env(**options) if env is None else env
    keeper, rng = Keeper(), np.random.default_rng(seed)
    env.add_collector(keeper)
    observations, _ = env.reset(seed=seed)
    turn = 0
    while env.agents:
        if turn == surrender:
            env.surrender(env.agents[-1])
        actions = {}
        for agent in env.agents:
            legal = np.flatnonzero(observations[agent]["action_mask"])
            first_build = 8 * env.board().owner.shape[1] + 1
            builds = legal[legal >= first_build]
            actions[agent] = int(rng.choice(builds if len(builds) and rng.random() < 0.5 else legal))
        observations, *_ = env.step(actions)
        turn += 1
    return keeper.game(id=f"seed {seed}")
