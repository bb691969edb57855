"""Checks that the libraries of the statistics are installed, before games are played for them."""

from __future__ import annotations

from importlib.util import find_spec

from generals_env.errors import ConfigError

__all__ = ["check_libraries"]

LIBRARIES = ("scipy", "statsmodels")


def check_libraries() -> None:
    """Check that scipy and statsmodels are installed.

    Raises:
        ConfigError: If one of them is not.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'arena: expected {" and ".join(LIBRARIES)}, found no {" and no ".join(missing)}: pip install "generals_env[arena]"'
        )
