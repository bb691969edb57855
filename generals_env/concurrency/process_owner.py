"""Which process an object belongs to: a forked child leaves alone what its parent has open.

A child of ``os.fork`` begins with copies of all objects of its parent, but with none of its threads. Were it to use or to clean
up what they stand for, files, locks and batches that are not written yet, everything would happen twice.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

from generals_env.errors import StateError

__all__ = ["Owner", "finalize"]


class Owner:
    """The process that made an object.

    A copy, and what is read from a pickle, belongs to the process that makes it.

    Attributes:
        process: Its id.
    """

    __slots__ = ("process",)

    def __init__(self) -> None:
        """Note the present process."""
        self.process = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process, and not a child that was forked off it."""
        return os.getpid() == self.process

    def check(self, what: str) -> None:
        """Raise unless this is the process.

        Args:
            what: The object, for the message.

        Raises:
            StateError: In a process that was forked off the one that made the object.
        """
        if os.getpid() != self.process:
            raise StateError(
                f"{what}: expected process {self.process}, which opened it, got process {os.getpid()}, "
                "a child of it: open a new one in this process"
            )

    def __reduce__(self) -> tuple[type[Owner], tuple[()]]:
        """Let copies and pickles belong to the process that makes them."""
        return Owner, ()


def finalize(owner: object, function: Callable[..., Any], *arguments: Any) -> weakref.finalize[..., Any]:
    """Return a finalizer as ``weakref.finalize``, which does nothing in processes that are forked off this one.

    Args:
        owner: When it is dropped, or at exit, the function is called.
        function: What to call; it must not refer to ``owner``.
        *arguments: What to call it with.
    """
    return weakref.finalize(owner, call_here, os.getpid(), function, arguments)


def call_here(process: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Call a function if this is the process of that id."""
    if os.getpid() == process:
        function(*arguments)
