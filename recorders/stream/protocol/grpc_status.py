"""Maps exceptions to gRPC status codes, so that a client gets a code and a text, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from generals_env.errors import ConfigError, StateError, StorageError

__all__ = ["CallRejectedError", "abort_on_error"]


class CallRejectedError(StateError):
    """Ends a call with a given status code.

    Attributes:
        code: The status code that the client gets.
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def abort_on_error(context: grpc.ServicerContext) -> Iterator[None]:
    """Abort the call with the matching status code if the block raises an error of the package."""
    try:
        yield
    except CallRejectedError as error:
        context.abort(error.code, str(error))
    except ConfigError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except (StateError, StorageError) as error:
        context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
