"""Copies and pickles of the package's objects: refused, taken whole, or written under a public name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Self, TypeVar

from generals_env.errors import CopyError

__all__ = ["CopiedWhole", "NotCopied", "pickled_as"]

Class = TypeVar("Class", bound=type)


def pickled_as(package: str) -> Callable[[Class], Class]:
    """Return a class decorator that names ``package`` as the home of a class.

    Pickles and reprs then hold the public path, so that files stay readable when the class moves to another module. ``package``
    must hand on the class under its own name.
    """

    def name_home(decorated: Class) -> Class:
        decorated.__module__ = package
        return decorated

    return name_home


class CopiedWhole:
    """Takes ``copy.copy`` for ``copy.deepcopy``: two environments that share their games would both play them."""

    def __copy__(self) -> Self:
        """Return a copy with games of its own."""
        return copy.deepcopy(self)


class NotCopied:
    """Refuses ``copy.copy``, ``copy.deepcopy`` and pickling with a ``CopyError``.

    Attributes:
        _instead: What to do instead of a copy, as a sentence without its full stop.
    """

    _instead: ClassVar[str]

    def __reduce_ex__(self, protocol: Any) -> NoReturn:  # copies and pickles of all protocols come by here
        """Refuse.

        Raises:
            CopyError: Always.
        """
        raise CopyError(
            f"{type(self).__name__}: expected an object that can be copied or pickled, got one that holds files, threads or "
            f"connections of this process: {self._instead}"
        )
