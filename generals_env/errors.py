"""The exceptions of the package, one small tree.

GeneralsError
├── ConfigError    an option of an environment, a reward or a recorder (also a ValueError)
│   └── OptionError    a keyword argument that is unknown (also a TypeError, in Python's wording)
├── ActionError    an action that is no index of the action space (also a ValueError)
├── StateError     a call at the wrong time: before reset, after the end (also a RuntimeError)
├── MapError       a map text that is no board (also a ValueError)
├── ReplayError    a replay that is damaged or needs rules that are not built (also a ValueError)
├── StorageError   a place that cannot be written, or a file that is not ours (also an OSError)
└── CopyError      an object that cannot be copied or pickled, and what to do instead (also a TypeError)

Every message names the argument, what was expected and what came.
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
    """Base of every exception that this package raises on purpose."""


class ConfigError(GeneralsError, ValueError):
    """An option has a value it cannot have."""


class OptionError(ConfigError, TypeError):
    """A keyword argument is unknown. Libraries try one, and leave it out when Python says ``TypeError``."""


class ActionError(GeneralsError, ValueError):
    """An action is not an index of the action space."""


class StateError(GeneralsError, RuntimeError):
    """A method was called at a time when it has no meaning."""


class MapError(GeneralsError, ValueError):
    """A text does not describe a board."""


class ReplayError(GeneralsError, ValueError):
    """A replay is damaged, or needs rules that are not built."""


class StorageError(GeneralsError, OSError):
    """A place cannot be written, or a file cannot be read as ours."""


class CopyError(GeneralsError, TypeError):
    """An object cannot be copied or pickled, as it holds files, threads or connections of this process."""
