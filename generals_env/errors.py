"""Defines the exceptions of the package.

GeneralsError
├── ConfigError    an invalid value of an option or argument (also a ValueError)
│   └── OptionError    an unknown keyword argument (also a TypeError, in Python's wording)
├── ActionError    an action that is not an index of the action space (also a ValueError)
├── StateError     a call at the wrong time: before reset, after the end (also a RuntimeError)
├── MapError       a map text that does not describe a board (also a ValueError)
├── ReplayError    a replay that is damaged or needs rules that are not supported (also a ValueError)
├── StorageError   a file or folder that cannot be written or read (also an OSError)
└── CopyError      an object that cannot be copied or pickled (also a TypeError)

Each message names the argument, what was expected, what was given, and what to do.
"""

from __future__ import annotations

__all__ = [
    "ActionError",
    "ConfigError",
    "CopyError",
    "GeneralsError",
    "MapError",
    "OptionError",
    "ReplayError",
    "StateError",
    "StorageError",
]


class GeneralsError(Exception):
    """Base class of the exceptions that this package raises on purpose."""


class ConfigError(GeneralsError, ValueError):
    """An option or argument has an invalid value."""


class OptionError(ConfigError, TypeError):
    """A keyword argument is unknown. It is a ``TypeError``, as some libraries try an argument and catch that."""


class ActionError(GeneralsError, ValueError):
    """An action is not an index of the action space."""


class StateError(GeneralsError, RuntimeError):
    """A method was called at the wrong time: before ``reset``, after the end of a game, or after ``close``."""


class MapError(GeneralsError, ValueError):
    """A text does not describe a board."""


class ReplayError(GeneralsError, ValueError):
    """A replay is damaged, or needs rules that are not supported."""


class StorageError(GeneralsError, OSError):
    """A file or folder cannot be written, or a file cannot be read as one of this package."""


class CopyError(GeneralsError, TypeError):
    """An object cannot be copied or pickled, as it holds files, threads or connections of this process."""
