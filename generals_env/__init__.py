"""generals.io for training agents: a PettingZoo environment on a numba engine.

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
    from generals_env.aec import GeneralsAEC
    from generals_env.config import GameConfig, RewardConfig
    from generals_env.parallel import GeneralsParallel
    from generals_env.vector import GeneralsVector

#: The id in the registries of Gymnasium and, from 1.27 on, of PettingZoo.
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
    "StateError",
    "StorageError",
    "__version__",
    "make",
    "make_vec",
    "parallel_env",
]

find_former_modules()

# Before 1.27 PettingZoo has no registries; all else that is used of it is there from 1.25 on.
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
            ``render_player``.

    Raises:
        ConfigError: If an option has a value it cannot have.
        OptionError: If an option is unknown.
        MapError: If the map is no board.
    """
    from generals_env.aec import GeneralsAEC
    from generals_env.generals_v0 import configure

    return GeneralsAEC(configure(make, options))


def parallel_env(**options: Any) -> GeneralsParallel:
    """Return the parallel environment; options and errors as in ``make``."""
    from generals_env import generals_v0

    return generals_v0.parallel_env(**options)


def make_vec(num_envs: int, **options: Any) -> GeneralsVector:
    """Return many games at once, for all their players.

    Args:
        num_envs: How many.
        **options: Fields of ``GameConfig``, and:

            copy: Whether ``step`` hands out copies (the default), not views that the next step changes.
            autoreset_mode: What happens to ended games, a ``gymnasium.vector.AutoresetMode``: ``SAME_STEP`` (the default)
                begins the next game at once, ``NEXT_STEP`` with the next step, ``DISABLED`` leaves it to ``reset``.
            threads: Among how many threads the games are divided; all cores without. Results do not depend on it.
            max_episode_steps: Turns after which a game is truncated, if ``max_turns`` is not smaller.

    Raises:
        ConfigError: If an option has a value it cannot have.
        OptionError: If an option is unknown.
        MapError: If the map is no board.
    """
    from generals_env.vector import make_vec

    return make_vec(num_envs, **options)


#: Importable as attributes, too: ``generals_env.replay.read(path)`` needs no import of its own.
SUBMODULES = ("actions", "generals_v0", "recorders", "opponents", "render", "replay", "wrappers")


def __getattr__(name: str) -> Any:
    # Numba takes a second to import: nothing that needs it is imported before it is used.
    if name in ("GameConfig", "RewardConfig"):
        from generals_env import config

        return getattr(config, name)
    if name in SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
