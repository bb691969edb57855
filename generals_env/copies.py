"""Objects that hold files, threads or connections of this process are not copied: they say so, and what to do instead."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from generals_env.errors import CopyError

__all__ = ["NotCopied"]


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
