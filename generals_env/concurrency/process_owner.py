"""Records which process owns an object, so that a forked child does not use or close what its parent has open.

A child of ``os.fork`` starts with copies of all objects of its parent, but without its threads. If it used or closed the open
files, locks and unwritten batches of its parent, that would happen twice.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

from generals_env.errors import StateError

__all__ = ["Owner", "finalize"]


class Owner:
    """The process that owns an object.

    Copies and unpickled owners belong to the process that creates them.

    Attributes:
        process: Id of the process.
    """

    __slots__ = ("process",)

    def __init__(self) -> None:
        """Make the current process the owner."""
        self.process = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether the current process is the owner, not a forked child."""
        return os.getpid() == self.process

    def check(self, what: str) -> None:
        """Raise an error if the current process is not the owner.

        Args:
            what: Name of the object, for the message.

        Raises:
            StateError: In a forked child of the owner.
        """
        if os.getpid() != self.process:
            raise StateError(
                f"{what}: expected process {self.process}, which opened it, got process {os.getpid()}, "
                "a child of it: open a new one in this process"
            )

    def __reduce__(self) -> tuple[type[Owner], tuple[()]]:
        """Copy and unpickle as an owner for the current process."""
        return Owner, ()


def finalize(owner: object, function: Callable[..., Any], *arguments: Any) -> weakref.finalize[..., Any]:
    """Return a finalizer like ``weakref.finalize`` that does nothing in forked children of this process.

    Args:
        owner: Object; the function is called when it is garbage collected, or at exit.
        function: Function to call; it must not refer to ``owner``.
        *arguments: Arguments of the function.
    """
    return weakref.finalize(owner, call_here, os.getpid(), function, arguments)


def call_here(process: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Call a function if ``process`` is the id of the current process."""
    if os.getpid() == process:
        function(*arguments)
