"""Trying again what may work the next time."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from generals_env.arguments import check_integer, is_number, make_plain
from generals_env.concurrency.interrupts import pending
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

__all__ = ["Retry", "is_permanent"]

logger = logging.getLogger(__name__)

SLICE = 0.05  # seconds between looks at signals that were put off

Result = TypeVar("Result")

#: What does not go away by itself: it is told at once.
PERMANENT = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError, TypeError, ValueError)
PERMANENT_NUMBERS = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG)
PERMANENT_NAMES = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "ParamValidationError",
)  # botocore's, which may not be there


def is_permanent(error: BaseException) -> bool:
    """Return whether there is no point in trying again."""
    number = error.errno if isinstance(error, OSError) else None
    return isinstance(error, PERMANENT) or number in PERMANENT_NUMBERS or type(error).__name__ in PERMANENT_NAMES


def rest(seconds: float) -> None:
    """Sleep, but not on when a signal was put off."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not pending():
        time.sleep(min(left, SLICE))


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class Retry:
    """How often, and when, something is tried again: by default 5 times in all, after 0.1, 0.2, 0.4 and 0.8 seconds.

    To each wait up to ``first_wait`` is added at random, so that many who failed together do not come again together. A signal
    that was put off (see ``generals_env.concurrency.interrupts``) ends the tries.

    Attributes:
        tries: How often in all, 1 or more.
        first_wait: Seconds before the second try; each further wait is twice as long.
        most_wait: No wait is longer, in seconds.
        sleep: What waits; takes seconds.
    """

    tries: int = 5
    first_wait: float = 0.1
    most_wait: float = 10.0
    sleep: Callable[[float], None] = field(default=rest, repr=False)

    def __post_init__(self) -> None:
        """Check all values.

        Raises:
            ConfigError: If one is not what it should be.
        """
        make_plain(self)
        check_integer("tries", self.tries, 1, 1000)
        for name in ("first_wait", "most_wait"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < float("inf"):
                raise ConfigError(f"{name}: expected seconds, got {value!r}")

    def call(self, what: str, function: Callable[[], Result]) -> Result:
        """Return what ``function`` returns; what it raises the last time is raised here.

        Args:
            what: Says in the log what is tried.
            function: Called until it raises nothing, or what is permanent.
        """
        import tenacity

        def note(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            logger.warning("%s: try %d of %d failed: %s", what, state.attempt_number, self.tries, error)

        retrying = tenacity.Retrying(
            stop=lambda state: state.attempt_number >= self.tries or pending(),
            wait=tenacity.wait_exponential(self.first_wait, self.most_wait) + tenacity.wait_random(0, self.first_wait),
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, Exception) and not is_permanent(error)),
            sleep=self.sleep,
            before_sleep=note,
            reraise=True,
        )
        return retrying(function)
