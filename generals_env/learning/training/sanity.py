"""Checks in about a minute that a learner learns at all, and from the right numbers: ``check_learner``.

For those who change the learner or its network. Each check has found mistakes in learners of this game that cost days: see
``LearnerCheck``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from generals_env.arguments import check_integer
from generals_env.errors import StateError
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.rollouts.collector import log_shares
from generals_env.learning.rollouts.opponent_mix import SELF

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(f'sanity: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["SOLVED", "LearnerCheck", "check_learner", "ratio_error"]

#: A board that is solved: an army of 40 waits beside each general, three steps from the other one. Always seen from one side,
#: without symmetries, so that it takes seconds.
MAP = "A -40 . .\n. -40 B .\n. . . .\n. . . ."
SOLVED: dict[str, Any] = {
    "board": 4, "max_turns": 60, "game": {"map": MAP}, "opponents": "random", "games": 64, "steps": 32, "epochs": 4,
    "batch_size": 64, "channels": 16, "blocks": 1, "learning_rate": 1e-3, "gamma": 0.98, "averaging": 0.9,
    "top_advantages": 1.0, "symmetries": False, "shaping_land": 0.0, "shaping_army": 0.0,
    "teacher": None, "reward": {"city_captured": 0.0, "city_lost": 0.0},
}  # fmt: skip

TARGET = 0.9  # share of wins
ROUNDING = {False: 1e-3, True: 0.1}  # of ratios, by whether the network computes in bfloat16


@dataclass(frozen=True)
class LearnerCheck:
    """What ``check_learner`` found.

    Attributes:
        ratio_error: Maximum of ``|ratio - 1|`` over the entries of a rollout before the first step. It is above rounding if the
            policy that learns is not the one that played: states transformed after the action was chosen, other masks, another
            network, or one in another mode.
        decided: Victories and defeats of the learner in a rollout, counted by the games.
        rewarded: Last actions of the learner in the buffer whose reward is the outcome. It is less than ``decided`` if
            automatic resets hide the last reward.
        win_rate: Share of games won against ``random`` on a solved board, in the last iteration.
        iterations: Iterations until then.
    """

    ratio_error: float
    decided: int
    rewarded: int
    win_rate: float
    iterations: int


def check_learner(make: Callable[[PPOConfig], PPO] = PPO, iterations: int = 80, **options: Any) -> LearnerCheck:
    """Let a learner play and learn on a solved board.

    Args:
        make: Makes the learner of its options.
        iterations: Iterations at most.
        **options: Options of ``PPOConfig`` in place of those of ``SOLVED``.

    Raises:
        StateError: If a check fails; the text says which one, and what causes it.
    """
    check_integer("iterations", iterations, 1, 10**6)
    config = PPOConfig(**{**SOLVED, **options})
    trainer = make(config)
    trainer.network.eval()
    trainer.collector.collect(trainer.network, 0.0)
    ratio = ratio_error(trainer)
    if not ratio <= ROUNDING[trainer.bfloat16]:
        raise StateError(
            f"learner: expected ratios of 1 before the first step, got one that differs by {ratio:.3g}: the policy that learns "
            "is not the one that played; transform states before actions are chosen, and use the same masks and network"
        )
    decided, rewarded = decided_games(trainer), outcomes(trainer)
    if decided != rewarded or not decided:
        raise StateError(
            f"learner: expected the outcome of {decided} decided games as the rewards of the last actions, got {rewarded}: "
            "read rewards before ended games are replaced, and mark their rows as ended"
        )
    rate = 0.0
    for number in range(iterations):
        trainer.progress = number / iterations
        figures = trainer.iterate()
        rate = win_rate(figures)
        if rate >= TARGET:
            return LearnerCheck(ratio, decided, rewarded, rate, number + 1)
    raise StateError(
        f"learner: expected {TARGET:.0%} of games won on a solved board within {iterations} iterations, got {rate:.0%}: it "
        "does not learn; check the signs of the losses, the advantages and the learning rate"
    )


def ratio_error(trainer: PPO) -> float:
    """Return the maximum of ``|ratio - 1|`` over the entries of the buffer, for the network as it is."""
    buffer = trainer.collector.buffer
    batch = buffer.minibatch(np.flatnonzero(buffer.valid), trainer.device)
    trainer.network.eval()
    with torch.no_grad(), trainer.autocast():
        logits, _ = trainer.network(batch.observations)
    chosen = log_shares(logits, batch.legal).gather(1, batch.actions[:, None])[:, 0]
    return float(((chosen - batch.log_probs).exp() - 1).abs().max())


def decided_games(trainer: PPO) -> int:
    """Return how many seats won or lost in the rollout, as the groups of games count it."""
    groups = trainer.collector.groups
    return sum(int(group.results[:2].sum()) * (2 if group.name == SELF else 1) for group in groups)


def win_rate(figures: Mapping[str, float]) -> float:
    """Return the share of games won against all opponents."""
    games = {name.removeprefix("games_"): count for name, count in figures.items() if name.startswith("games_")}
    won = sum(count * figures[f"wins_{name}"] for name, count in games.items())
    return won / max(sum(games.values()), 1)


def outcomes(trainer: PPO) -> int:
    """Return at how many ends of episodes in the buffer the reward is a victory or a defeat."""
    buffer = trainer.collector.buffer
    return int((buffer.valid & buffer.ended & (np.abs(buffer.rewards) == 1)).sum())
