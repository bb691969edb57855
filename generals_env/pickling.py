"""Controls copies and pickles of objects: copies them deeply, refuses them, or pickles them under a public path."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Self, TypeVar

from generals_env.errors import CopyError

__all__ = ["CopiedWhole", "NotCopied", "pickled_as"]

Class = TypeVar("Class", bound=type)


def pickled_as(package: str) -> Callable[[Class], Class]:
    """Return a class decorator that sets the module of a class to ``package``.

    Pickles and reprs then contain the public path, so files stay readable when the class moves to another module. ``package``
    must export the class under its own name.
    """

    def set_module(decorated: Class) -> Class:
        decorated.__module__ = package
        return decorated

    return set_module


class CopiedWhole:
    """Makes ``copy.copy`` a deep copy: two environments that share their arrays would overwrite each other's games."""

    def __copy__(self) -> Self:
        """Return a deep copy."""
        return copy.deepcopy(self)


class NotCopied:
    """Refuses ``copy.copy``, ``copy.deepcopy`` and pickling with a ``CopyError``.

    Attributes:
        _instead: What to do instead of a copy, as a sentence without its full stop.
    """

    _instead: ClassVar[str]

    def __reduce_ex__(self, protocol: Any) -> NoReturn:  # all copies and pickles call it
        """Raise ``CopyError``.

        Raises:
            CopyError: Always.
        """
        raise CopyError(
            f"{type(self).__name__}: expected an object that can be copied or pickled, got one that holds files, threads or "
            f"connections of this process: {self._instead}"
        )
