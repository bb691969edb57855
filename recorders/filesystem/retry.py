"""Retries calls that fail for a while, with exponentially growing waits."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from generals_env.arguments import check_integer, is_number, make_plain, renamed_fields
from generals_env.concurrency.interrupts import pending
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

__all__ = ["Retry", "is_permanent"]

logger = logging.getLogger(__name__)

SLICE = 0.05  # seconds between checks for deferred signals

Result = TypeVar("Result")

#: Errors that do not go away by themselves: they are raised at once.
PERMANENT = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError, TypeError, ValueError)
PERMANENT_NUMBERS = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG)
PERMANENT_NAMES = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "ParamValidationError",
)  # of botocore, which is optional


def is_permanent(error: BaseException) -> bool:
    """Return whether another try cannot succeed."""
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, PERMANENT) or number in PERMANENT_NUMBERS or type(error).__name__ in PERMANENT_NAMES


def rest(seconds: float) -> None:
    """Sleep until the time is up or a signal is deferred."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not pending():
        time.sleep(min(left, SLICE))


@pickled_as("generals_env.recorders")
@renamed_fields(most_wait="max_wait")
@dataclass(frozen=True)
class Retry:
    """How often, and when, a call that fails is tried again: by default 5 tries, after 0.1, 0.2, 0.4 and 0.8 seconds.

    A random time up to ``first_wait`` is added to each wait, so that processes which failed together do not try again together.
    A deferred signal (see ``generals_env.concurrency.interrupts``) ends the tries.

    Attributes:
        tries: Number of tries in all, 1 or more.
        first_wait: Seconds before the second try; each further wait is twice as long.
        max_wait: Maximum of each wait before the random time is added, in seconds. Its former name ``most_wait`` is deprecated.
        sleep: The function that waits; takes seconds.
    """

    tries: int = 5
    first_wait: float = 0.1
    max_wait: float = 10.0
    sleep: Callable[[float], None] = field(default=rest, repr=False)

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            ConfigError: If one is not what it should be.
        """
        make_plain(self)
        check_integer("tries", self.tries, 1, 1000)
        for name in ("first_wait", "max_wait"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < float("inf"):
                raise ConfigError(f"{name}: expected seconds, 0 or more, got {value!r}")

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load a pickle, also one in which ``max_wait`` has its former name."""
        self.__dict__.update({"max_wait" if name == "most_wait" else name: value for name, value in state.items()})

    def call(self, what: str, function: Callable[[], Result]) -> Result:
        """Return what ``function`` returns; the error of the last try is raised here.

        Args:
            what: Names in the log what is tried.
            function: Called until it raises no error, or a permanent one.
        """
        import tenacity

        def note(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            logger.warning("%s: try %d of %d failed: %s", what, state.attempt_number, self.tries, error)

        retrying = tenacity.Retrying(
            stop=lambda state: state.attempt_number >= self.tries or pending(),
            wait=tenacity.wait_exponential(self.first_wait, self.max_wait) + tenacity.wait_random(0, self.first_wait),
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Exception) and not is_permanent(error)),
            sleep=self.sleep,
            before_sleep=note,
            reraise=True,
        )
        return retrying(function)
