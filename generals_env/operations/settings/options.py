"""Converts settings to the options of the package: of games, rewards and the trainer."""

from __future__ import annotations

from typing import Any

from generals_env.config import GameConfig, RewardConfig
from generals_env.operations.settings.models import Games, Rewards, Training
from generals_env.recorders.training.config import TrainerConfig

__all__ = ["game_options", "player_policies", "reward_config", "trainer_config"]

GAME_OPTIONS = (
    "players",
    "height",
    "width",
    "max_turns",
    "rules",
    "fog",
    "teams",
    "modifiers",
    "mountain_density",
    "city_density",
    "observation",
)


def reward_config(rewards: Rewards) -> RewardConfig:
    """Return the weights of the reward."""
    return RewardConfig(**rewards.model_dump())


def game_options(games: Games, rewards: Rewards) -> dict[str, Any]:
    """Return the options of the games, as keyword arguments of ``make_vec`` and ``GameConfig.from_options``."""
    return {**{name: getattr(games, name) for name in GAME_OPTIONS}, "reward": reward_config(rewards)}


def game_config(games: Games, rewards: Rewards) -> GameConfig:
    """Return the configuration of the games.

    Raises:
        ConfigError: If options do not fit each other; the message begins with the name of one.
    """
    return GameConfig.from_options(**game_options(games, rewards))


def player_policies(games: Games) -> tuple[str, ...]:
    """Return the policy of each player: one name is for all of them."""
    return games.policies * games.players if len(games.policies) == 1 else games.policies


def trainer_config(training: Training) -> TrainerConfig:
    """Return the hyperparameters of the trainer.

    Raises:
        ConfigError: If values do not fit each other; the message begins with the name of one.
    """
    return TrainerConfig(**training.model_dump())
