"""Defines the kind of games that an arena plays, the numbers of its maps, and the seeds that stand for them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from generals_env.arguments import check_integer
from generals_env.config import GameConfig
from generals_env.errors import ConfigError
from generals_env.starts.spawn_distance import SpawnDistance

__all__ = ["MAX_SEED", "game_config", "kind_name", "map_seed"]

#: Largest seed of a run.
MAX_SEED = 2**62


def game_config(**options: Any) -> GameConfig:
    """Return the configuration of the games of an arena: two players, options as of ``generals_env.make``.

    Options that are None are left out: the rules set them.

    Raises:
        ConfigError: If the value of an option is invalid, or there are more than two players.
        OptionError: If an option is unknown.
    """
    config = GameConfig.from_options(**{name: value for name, value in options.items() if value is not None})
    if config.players != 2:
        raise ConfigError(f"players: expected 2 in an arena, got {config.players}: leave it out")
    return config


def kind_name(config: GameConfig) -> str:
    """Return the name of the kind of games: board size, rules, turn limit, and other options that are not the default.

    Games of one name can be compared; reward, observation and rendering do not change a game and are left out.
    """
    sizes = "x".join(
        "-".join(str(side) for side in sorted({*size})) if isinstance(size, tuple) else str(size)
        for size in (config.height, config.width)
    )
    parts = [sizes, config.rules, f"{config.max_turns} turns"]
    usual = GameConfig.from_options(rules=config.rules)
    if config.map is not None:
        parts[0] = f"{sizes} map {digest(config.map)}"
    for name in ("fog", "teams", "modifiers", "mountain_density", "city_density", "touch_turn"):
        value = getattr(config, name)
        if value != getattr(usual, name) and not (config.map is not None and name.endswith("density")):
            parts.append(f"{name} {value}")
    if isinstance(config.start, SpawnDistance):
        parts.append(f"generals {config.start.minimum}-{config.start.maximum} steps apart")
    elif config.start is not None:
        parts.append(f"start {digest(config.start)}")
    return ", ".join(parts)


def digest(text: str) -> str:
    """Return eight digits that stand for the text of boards."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def map_seed(seed: int, number: int) -> int:
    """Return the seed of a map: ``generals_env.make(...).reset(seed=map_seed(seed, number))`` draws it.

    Args:
        seed: Seed of the arena's run.
        number: Number of the map within the run.

    Raises:
        ConfigError: If one of them is no integer from 0 to 2**62.
    """
    check_integer("seed", seed, 0, MAX_SEED)
    check_integer("map", number, 0, MAX_SEED)
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(2))
