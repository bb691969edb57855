"""Makes environments under the names that PettingZoo's modules use: ``env``, ``raw_env`` and ``parallel_env``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from generals_env.aec import GeneralsAEC
from generals_env.arguments import check_options
from generals_env.config import OPTIONS, GameConfig
from generals_env.parallel import GeneralsParallel

__all__ = ["env", "parallel_env", "raw_env"]


def configure(called: Callable[..., Any], options: Mapping[str, Any]) -> GameConfig:
    """Return the configuration for the options of the function ``called``.

    ``max_cycles``, which PettingZoo's registry passes, is an alias of ``max_turns``.
    """
    check_options(called, options, ("max_cycles", *OPTIONS))
    fields = {name: value for name, value in options.items() if name != "max_cycles"}
    if options.get("max_cycles") is not None:
        fields.setdefault("max_turns", options["max_cycles"])
    return GameConfig.from_options(**fields)


def raw_env(**options: Any) -> GeneralsAEC:
    """Return the AEC environment. It validates actions and the order of calls itself, so ``env`` adds no wrappers.

    Args:
        **options: Fields of ``GameConfig``.

    Raises:
        ConfigError: If the value of an option is invalid.
        OptionError: If an option is unknown.
        MapError: If ``map`` does not describe a board.
    """
    return GeneralsAEC(configure(raw_env, options))


env = raw_env


def parallel_env(**options: Any) -> GeneralsParallel:
    """Return the parallel environment.

    Args:
        **options: Fields of ``GameConfig``.

    Raises:
        ConfigError: If the value of an option is invalid.
        OptionError: If an option is unknown.
        MapError: If ``map`` does not describe a board.
    """
    return GeneralsParallel(configure(parallel_env, options))
