"""Calls scripts and commands of a Redis server, again after failures that pass, with errors of this package."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from generals_env.arguments import shown
from generals_env.concurrency.interrupts import raise_pending
from generals_env.errors import StorageError
from generals_env.recorders.distributed.redis_address import PASSWORD_VARIABLE, RedisAddress, connect
from generals_env.recorders.distributed.redis_scripts import keys_of
from generals_env.recorders.filesystem.retry import Retry

__all__ = ["TIMEOUT", "GroupGoneError", "RedisConnection"]

TIMEOUT = 20.0  # seconds in which a server must answer

#: Beginnings of answers that need another key, user or server: a further try cannot help.
ADVICE = {
    "WRONGTYPE": "the key holds another kind of value: use another name for the stream",
    "NOAUTH": f"set {PASSWORD_VARIABLE} to the password of the server",
    "WRONGPASS": f"set {PASSWORD_VARIABLE} to the password of the server",
    "NOPERM": "give the user of the address the right to run scripts on these keys",
    "READONLY": "use the address of the server that takes writes, not of its replica",
}


class GroupGoneError(StorageError):
    """The consumer group does not exist any more."""


class RedisConnection:
    """A connection to a server, and the keys of one stream there.

    Attributes:
        address: Where the stream is.
        failures: How often a call has failed for lack of a connection, and was tried again.
    """

    def __init__(
        self, address: RedisAddress, retry: Retry, root_certificates: str | Path | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Prepare to connect; the first call connects."""
        self.address, self.retry = address, retry
        self.failures = 0
        self._client: Any = connect(address, timeout, root_certificates)
        self._keys = keys_of(address.stream)
        self._scripts: dict[str, Any] = {}
        self._calling = threading.Lock()  # redis-py breaks if a thread closes a connection on which another one waits
        self._closed = False

    @property
    def place(self) -> str:
        """Server and stream, for messages."""
        return f"redis://{self.address.host}:{self.address.port}/{self.address.database}?stream={self.address.stream}"

    def run(self, script: str, arguments: Sequence[Any], stop: Callable[[], bool] = bool) -> Any:
        """Return what a script returns; it is run again after a lost connection, so it must allow that.

        Args:
            script: The text of the script.
            arguments: Its arguments; the keys are those of the stream.
            stop: Returns whether to give up waiting for the server.

        Raises:
            StorageError: If the server cannot be reached, or refuses.
        """
        if script not in self._scripts:
            self._scripts[script] = self._client.register_script(script)
        return self.call(lambda _: self._scripts[script](keys=self._keys, args=arguments), stop)

    def call(self, function: Callable[[Any], Any], stop: Callable[[], bool] = bool) -> Any:
        """Return what a function of the client returns; arguments and errors as in ``run``."""
        import redis

        def attempt() -> Any:
            raise_pending()
            try:
                with self._calling:
                    return function(self._client)
            except redis.AuthenticationError as error:
                return self._failure(error, ADVICE["NOAUTH"])  # raised below: ``retry`` would repeat the call
            except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                self.failures += 1
                failure = self._failure(error, "check the address and that the server runs")
                if stop():
                    return failure
                raise failure from error
            except redis.OutOfMemoryError as error:
                failure = self._failure(error, "raise maxmemory of the server, or lower max_experiences")
                if stop():
                    return failure
                raise failure from error
            except redis.RedisError as error:
                code = str(error).partition(" ")[0]
                if code == "NOGROUP":
                    return GroupGoneError(str(error))
                return self._failure(error, ADVICE.get(code, "check the address and the server"))

        try:
            answer = self.retry.call(self.place, attempt)
        finally:
            if self._closed:
                self.close()
        if isinstance(answer, StorageError):
            raise answer
        return answer

    def _failure(self, error: Exception, advice: str) -> StorageError:
        return StorageError(f"{self.place}: expected an answer, got {type(error).__name__}: {shown(str(error))}: {advice}")

    def close(self) -> None:
        """Disconnect; while another thread waits for an answer, at the end of its call."""
        self._closed = True
        if self._calling.acquire(blocking=False):
            try:
                self._client.close()
            finally:
                self._calling.release()
