"""Copies: objects that hold files, threads or connections refuse them; an environment is copied with its games."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, NoReturn, Self

from generals_env.errors import CopyError

__all__ = ["CopiedWhole", "NotCopied"]


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
