"""The environment as PettingZoo's users expect it: ``env``, ``raw_env`` and ``parallel_env``."""

from __future__ import annotations

from typing import Any

from generals_env.aec import GeneralsAEC
from generals_env.config import GameConfig
from generals_env.parallel import GeneralsParallel

__all__ = ["env", "parallel_env", "raw_env"]


def configure(max_cycles: int | None = None, **options: Any) -> GameConfig:
    """Return a configuration; ``max_cycles``, which PettingZoo's registry passes, is another name of ``max_turns``."""
    if max_cycles is not None:
        options.setdefault("max_turns", max_cycles)
    return GameConfig.from_options(**options)


def raw_env(**options: Any) -> GeneralsAEC:
    """Return the AEC environment; it checks what it is given itself, so that ``env`` needs no wrapper.

    Args:
        **options: Fields of ``GameConfig``.

    Raises:
        ConfigError: If an option is unknown or has a value it cannot have.
        MapError: If the map is no board.
    """
    return GeneralsAEC(configure(**options))


env = raw_env


def parallel_env(**options: Any) -> GeneralsParallel:
    """Return the parallel environment.

    Args:
        **options: Fields of ``GameConfig``.

    Raises:
        ConfigError: If an option is unknown or has a value it cannot have.
        MapError: If the map is no board.
    """
    return GeneralsParallel(configure(**options))
