"""Checks arguments: raises errors of one wording, and converts scalars and arrays of numpy to Python numbers and tuples."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import numbers
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from generals_env.errors import ConfigError, OptionError

__all__ = [
    "as_config",
    "check_flag",
    "check_integer",
    "check_number",
    "check_options",
    "check_seconds",
    "is_number",
    "keywords",
    "make_plain",
    "natural",
    "plain",
    "plain_sequence",
    "positive",
    "renamed_fields",
    "shown",
]

Config = TypeVar("Config")
Class = TypeVar("Class", bound=type)

NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def plain(value: Any) -> Any:
    """Return a numpy scalar or 0-d array as a Python scalar, and anything else as is."""
    if isinstance(value, np.longdouble):  # its ``item`` returns a longdouble again
        return float(value)
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value


def plain_sequence(value: Any) -> Any:
    """Return a list, tuple or array as a tuple of Python scalars, and anything else as ``plain`` does."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0):
        return tuple(plain(one) for one in value)
    return plain(value)


def shown(value: Any, max_length: int = 200) -> str:
    """Return the repr of ``value`` for an error message, cut after ``max_length`` characters."""
    try:
        return f"{value!r:.{max_length}}"
    except ValueError:  # Python refuses to convert integers of more than 4300 digits
        return "a number of many digits"


def is_number(value: Any) -> bool:
    """Return whether ``value`` is a real number of Python or numpy; a bool is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_integer(name: str, value: Any, minimum: int, maximum: int) -> int:
    """Return ``value`` as a Python integer.

    Raises:
        ConfigError: If it is not an integer from ``minimum`` to ``maximum``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not minimum <= value <= maximum:
        raise ConfigError(f"{name}: expected an integer from {minimum} to {maximum}, got {shown(value)}")
    return int(value)


def check_number(name: str, value: Any, minimum: float, maximum: float) -> float:
    """Return ``value`` as it is; raise ``ConfigError`` unless it is a number from ``minimum`` to ``maximum``."""
    if not is_number(value) or not minimum <= value <= maximum:  # NaN is not
        raise ConfigError(f"{name}: expected a number from {minimum} to {maximum}, got {shown(value)}")
    number: float = value
    return number


def positive(name: str, value: Any) -> int:
    """Return ``value`` as a Python integer; raise ``ConfigError`` unless it is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ConfigError(f"{name}: expected a positive integer, got {shown(value)}")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` as a Python bool; raise ``ConfigError`` unless it is a bool of Python or numpy."""
    if not isinstance(value, (bool, np.bool_)):
        raise ConfigError(f"{name}: expected True or False, got {shown(value)}")
    return bool(value)


def check_seconds(name: str, value: Any) -> float:
    """Return ``value`` as a Python float; raise ``ConfigError`` unless it is a number of seconds of at least 0."""
    if not is_number(value) or not value >= 0:  # NaN is not
        raise ConfigError(f"{name}: expected a number of seconds, 0 or more, got {shown(value)}")
    return float(min(value, 2**62))  # infinity, too


def check_options(called: Callable[..., Any], options: Iterable[str], names: Iterable[str]) -> None:
    """Raise an error if ``called`` does not accept one of the options.

    Args:
        called: The function or class that was called; the message also lists its own parameters.
        options: Names of the options that came in its ``**options``.
        names: Names of the options that ``**options`` may hold.

    Raises:
        OptionError: If an option is unknown. The message begins as Python's own, and lists the most similar name and all names.
    """
    names = tuple(names)
    unknown = [name for name in options if name not in names]
    if not unknown:
        return
    every = list(dict.fromkeys([*keywords(called), *names]))
    similar = difflib.get_close_matches(unknown[0], every, 1)
    hint = f"; did you mean {similar[0]!r}?" if similar else ":"
    raise OptionError(
        f"{called.__name__}() got an unexpected keyword argument {unknown[0]!r}{hint} "
        f"expected one of {', '.join(every)}, got {unknown[0]!r}"
    )


def keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the keyword parameters of a function or class, without the options in ``**options``."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.kind in NAMED and parameter.name != "self")


def make_plain(config: Any) -> None:
    """Convert numpy scalars in the fields of a frozen dataclass to Python scalars; for its ``__post_init__``."""
    for field in dataclasses.fields(config):
        object.__setattr__(config, field.name, plain(getattr(config, field.name)))


def renamed_fields(**names: str) -> Callable[[Class], Class]:
    """Return a class decorator by which a dataclass takes former names of its fields, with a ``DeprecationWarning``.

    They are taken as keywords, by ``as_config``, and as attributes.

    Args:
        **names: The new name by each former name.
    """

    def accept(decorated: Any) -> Any:
        initialize = decorated.__init__

        @functools.wraps(initialize)
        def __init__(self: Any, *arguments: Any, **options: Any) -> None:  # noqa: N807 - it becomes the method
            initialize(self, *arguments, **current_names(decorated, options))

        decorated._former_names = names
        decorated.__init__ = __init__
        for former, new in names.items():
            setattr(decorated, former, former_attribute(former, new))
        return decorated

    return accept


def former_attribute(former: str, new: str) -> property:
    """Return a property that reads attribute ``new`` under its former name."""

    def read(self: Any) -> Any:
        warn_former(type(self), former, new, 3)
        return getattr(self, new)

    return property(read, doc=f"Former name of ``{new}``.")


def current_names(kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a class with former names replaced; a value under a former name takes precedence."""
    given = dict(options)
    for former, new in getattr(kind, "_former_names", {}).items():
        if former in given:
            warn_former(kind, former, new, 4)
            given[new] = given.pop(former)
    return given


def warn_former(kind: type, former: str, new: str, level: int) -> None:
    """Warn that a former name is used; ``level`` is that of the caller to name, as in ``warnings.warn``."""
    warnings.warn(f"{kind.__name__}: {former} is now called {new}: use {new}", DeprecationWarning, stacklevel=level)


def as_config(name: str, kind: type[Config], value: Any, default: Config | None = None) -> Config:
    """Return a configuration that was passed as itself or as a mapping of its fields, for example from JSON.

    Args:
        name: Name of the argument, for errors.
        kind: Dataclass of the configuration; it checks its fields.
        value: The argument.
        default: Configuration to return for None.

    Raises:
        ConfigError: If ``value`` is neither, or the value of a field is invalid.
        OptionError: If the mapping has a key that is not a field of ``kind``.
    """
    if value is None and default is not None:
        return default
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name}: expected {kind.__name__} or a mapping of its fields, got {shown(value)}")
    value = current_names(kind, value)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    check_options(kind, map(str, value), [field.name for field in fields])
    for field in fields:
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in value:
            raise ConfigError(f"{name}: expected a mapping with {field.name!r}, got {shown(value)}: add the field")
    return kind(**value)


def natural(name: str, value: Any) -> int:
    """Return ``value`` as a Python integer; raise ``ConfigError`` unless it is a non-negative integer."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ConfigError(f"{name}: expected a non-negative integer, got {value!r:.80}")
    return int(value)
