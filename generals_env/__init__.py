"""Provides the game generals.io for training agents: PettingZoo and Gymnasium environments on a numba engine.

>>> import generals_env
>>> env = generals_env.make()
>>> env.reset(seed=1)
>>> env.agents
['player_0', 'player_1']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium
import pettingzoo

from generals_env.errors import (
    ActionError,
    ConfigError,
    CopyError,
    GeneralsError,
    MapError,
    OptionError,
    ReplayError,
    StateError,
    StorageError,
)
from generals_env.import_aliases import find_former_modules
from generals_env.version import __version__

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from generals_env.aec import GeneralsAEC
    from generals_env.config import GameConfig, RewardConfig
    from generals_env.parallel import GeneralsParallel
    from generals_env.starts import SpawnDistance, start_boards
    from generals_env.vector import GeneralsVector

#: Id of the environment in the registries of Gymnasium and, from version 1.27 on, of PettingZoo.
ENV_ID = "generals_env/Generals-v0"

__all__ = [
    "ENV_ID",
    "ActionError",
    "ConfigError",
    "CopyError",
    "GameConfig",
    "GeneralsError",
    "MapError",
    "OptionError",
    "ReplayError",
    "RewardConfig",
    "SpawnDistance",
    "StateError",
    "StorageError",
    "__version__",
    "castle_prices",
    "make",
    "make_vec",
    "parallel_env",
    "start_boards",
]

find_former_modules()

# PettingZoo has registries from 1.27 on; everything else that this package uses exists from 1.25 on.
if all(hasattr(pettingzoo, name) for name in ("aec_registry", "parallel_registry", "register")):
    if ENV_ID not in pettingzoo.aec_registry:
        pettingzoo.register("aec", ENV_ID, entry_point="generals_env.generals_v0:env")
    if ENV_ID not in pettingzoo.parallel_registry:
        pettingzoo.register("parallel", ENV_ID, entry_point="generals_env.generals_v0:parallel_env")
if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="generals_env.single:GeneralsSingle",
        vector_entry_point="generals_env.single:GeneralsSingleVector",
    )


def make(**options: Any) -> GeneralsAEC:
    """Return the AEC environment.

    Args:
        **options: Fields of ``GameConfig``: ``players``, ``height``, ``width``, ``max_turns``, ``rules``, ``map``, ``fog``,
            ``teams``, ``modifiers``, ``mountain_density``, ``city_density``, ``reward``, ``observation``, ``render_mode``,
            ``render_player``, ``touch_turn``, ``start``.

    Raises:
        ConfigError: If the value of an option is invalid.
        OptionError: If an option is unknown.
        MapError: If ``map`` does not describe a board.
    """
    from generals_env.aec import GeneralsAEC
    from generals_env.generals_v0 import configure

    return GeneralsAEC(configure(make, options))


def parallel_env(**options: Any) -> GeneralsParallel:
    """Return the parallel environment; options and errors as in ``make``."""
    from generals_env import generals_v0

    return generals_v0.parallel_env(**options)


def make_vec(num_envs: int, **options: Any) -> GeneralsVector:
    """Return a vector environment that plays many games at once, for all their players.

    Args:
        num_envs: Number of games.
        **options: Fields of ``GameConfig``, and:

            - ``copy``: Whether ``step`` returns copies (the default) instead of views that the next step overwrites.
            - ``autoreset_mode``: When an ended game is replaced, a ``gymnasium.vector.AutoresetMode``: ``SAME_STEP`` (the
              default) begins the next game in the same step, ``NEXT_STEP`` in the next step, ``DISABLED`` waits for ``reset``.
            - ``threads``: Number of threads that share the games; the default is one a core. Results do not depend on it.
            - ``max_episode_steps``: Turns after which a game is truncated, if ``max_turns`` is not smaller.
            - ``dtype``: Dtype of the observations: ``"float32"`` (the default), ``"float16"``, which rounds, or ``"uint8"``,
              where a channel holds 0 and 1, levels of armies or 255ths; ``observations.dtypes.to_float32`` converts them.

    Raises:
        ConfigError: If the value of an option is invalid.
        OptionError: If an option is unknown.
        MapError: If ``map`` does not describe a board.
    """
    from generals_env.vector import make_vec

    return make_vec(num_envs, **options)


def castle_prices(games: Any, player: int) -> npt.NDArray[np.int64]:
    """Return what a castle would cost a player on each tile, with the rules of the competition.

    The price is 35, and more near the player's general and castles: what others hold does not change it, so that a player can
    always compute it. It is given for every tile; the action mask says which builds are legal now.

    Args:
        games: An environment of one game or of many, or ``Boards``.
        player: The builder, 0 or 1.

    Returns:
        (H, W) int64 for one game; (B, H, W) for a vector environment and for ``Boards``.

    Raises:
        StateError: If the games have other rules, or have not begun.
        ConfigError: If the player does not exist.
    """
    from generals_env.prices import castle_prices

    return castle_prices(games, player)


#: Submodules that attribute access imports: ``generals_env.replay.read(path)`` works after ``import generals_env``.
SUBMODULES = ("actions", "arena", "generals_v0", "recorders", "opponents", "render", "replay", "wrappers")


def __getattr__(name: str) -> Any:
    # Importing numba takes a second, so modules that need it are imported when they are first used.
    if name in ("GameConfig", "RewardConfig"):
        from generals_env import config

        return getattr(config, name)
    if name in ("SpawnDistance", "start_boards"):
        from generals_env import starts

        return getattr(starts, name)
    if name in SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
