"""What goes wrong in a call, as gRPC says it: a code and a text, never a stack."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from generals_env.errors import ConfigError, StateError, StorageError

__all__ = ["CallRejectedError", "answering"]


class CallRejectedError(StateError):
    """A call that is not answered, and why.

    Attributes:
        code: The status.
    """

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def answering(context: grpc.ServicerContext) -> Iterator[None]:
    """End the call with the status that an error stands for."""
    try:
        yield
    except CallRejectedError as error:
        context.abort(error.code, str(error))
    except ConfigError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
    except (StateError, StorageError) as error:
        context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
