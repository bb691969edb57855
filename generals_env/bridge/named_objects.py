"""Imports a callable that a command line names as ``module:callable``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from generals_env.errors import ConfigError

__all__ = ["load_callable"]


def load_callable(argument: str, name: str) -> Callable[..., Any]:
    """Return the callable that ``module:callable`` names; modules of the current folder are found, too.

    Args:
        argument: Name of the argument, for errors.
        name: Name of the module and of the callable in it.

    Raises:
        ConfigError: If the module cannot be imported, or has no such callable.
    """
    module, colon, attribute = name.partition(":")
    if not (colon and module and attribute):
        raise ConfigError(f"{argument}: expected module:callable, got {name!r}: write for example my_module:Name")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # code of others runs while it is imported
        raise ConfigError(
            f"{argument}: expected module:callable that can be imported, got {name!r} ({error!r:.300}): check its module"
        ) from error
    if not callable(found):
        raise ConfigError(f"{argument}: expected a callable, got {found!r:.200} as {name!r}: name a class or a function")
    named: Callable[..., Any] = found
    return named
