"""Keeps games as ``RecordedGame``: those that built-in policies play, and those of replays."""

from __future__ import annotations

from typing import Any

import numpy as np

import generals_env
from generals_env.collector import Transition
from generals_env.engine.boards import Boards, copy_boards
from generals_env.replay.reader import Replay
from generals_env.replay.recorded_game import RecordedGame
from generals_env.wrappers import Opponent


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
        return RecordedGame(boards=boards, actions=np.array(self.actions), **facts)


def play_game(seed: int = 0, policies: tuple[str, ...] = ("expander",), **options: Any) -> RecordedGame:
    """Return a game that built-in policies play, with its rewards; policy i % n is that of player i."""
    env = generals_env.parallel_env(**options)
    keeper = Keeper()
    env.add_collector(keeper)
    observations, _ = env.reset(seed=seed)
    opponents = {agent: Opponent(policies[i % len(policies)], seed + i) for i, agent in enumerate(env.agents)}
    while env.agents:
        observations, *_ = env.step({agent: opponents[agent](observations[agent]) for agent in env.agents})
    return keeper.game(rewards=np.array(keeper.rewards), id=f"seed {seed}")


def kept_replay(replay: Replay) -> RecordedGame:
    """Return the game of a replay."""
    keeper = Keeper()
    replay.collect(keeper)
    return keeper.game(id=replay.id)
