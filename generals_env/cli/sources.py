"""Opens what commands read: the address of a server or of a stream of Redis, a dataset, or a log."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from generals_env.errors import ConfigError, StorageError
from generals_env.recorders import Dataset, ExperienceBatch, ExperienceLog, open_dataset
from generals_env.recorders.log.log_as_dataset import is_log

if TYPE_CHECKING:
    from generals_env.recorders import ExperienceConsumer
    from generals_env.recorders.distributed import RedisSource

__all__ = ["StoredSource", "StreamSource", "open_training_source"]

REDIS = ("redis:", "rediss:")

HOST_AND_PORT = re.compile(r"[^/\\]+:\d+")


class StreamSource:
    """A server; its stream has no end.

    Attributes:
        consumer: The consumer of the trainer.
    """

    def __init__(self, address: str) -> None:
        """Prepare to connect to a server.

        Raises:
            ConfigError: If the address is invalid.
        """
        self._address = address
        self.consumer = self._open(tries=None)

    def _open(self, tries: int | None) -> ExperienceConsumer | RedisSource:
        """Return a consumer that tries calls so often; None for its default."""
        from generals_env.recorders import Retry

        retry = None if tries is None else Retry(tries=tries)
        if self._address.startswith(REDIS):
            from generals_env.recorders.distributed import RedisSource

            # Looking at the first experience must not take it from a group.
            address = self._address if tries is None else re.sub(r"(?<=[?&])(group|consumer)=[^&]*&?", "", self._address)
            return RedisSource(address.rstrip("&"), retry=retry)
        from generals_env.recorders import ExperienceConsumer
        from generals_env.recorders.stream.client.server_address import TOKEN_VARIABLE

        return ExperienceConsumer(self._address, token=os.environ.get(TOKEN_VARIABLE) or None, retry=retry)

    def first(self) -> ExperienceBatch:
        """Wait for the first experience, and return it.

        Raises:
            StorageError: If the server cannot be reached, or rejects the call.
        """
        with self._open(tries=5) as consumer:
            return next(consumer.stream_experiences(batch_size=1))

    def stop(self) -> None:
        """Disconnect."""
        self.consumer.close()


class StoredSource:
    """A dataset, which is read over and over, or a log, which is read to its end and then followed."""

    def __init__(self, place: str, capacity: int) -> None:
        """Open a dataset or a log.

        Args:
            place: Folder, file or URL.
            capacity: Capacity of the buffer: a dataset that fits into it is read once.

        Raises:
            ConfigError: If a URL is malformed.
            StorageError: If there is neither, or it is empty.
        """
        self._dataset: Dataset = open_dataset(place)
        if not self._dataset.files:
            raise StorageError(f"source: expected experiences, got none in {place!r}: record into it first")
        self._log = ExperienceLog(place, mode="r") if "://" not in place and is_log(Path(place)) else None
        count = self._dataset.experiences
        self.repeats = self._log is None and (count is None or count > capacity)
        self._stopping = threading.Event()

    def first(self) -> ExperienceBatch:
        """Return the first batch.

        Raises:
            StorageError: If it is damaged, or there is none.
        """
        batch = next(iter(self._dataset), None)
        if batch is None or not len(batch):
            raise StorageError("source: expected experiences, got none: record into it first")
        return batch

    def batches(self) -> Iterator[ExperienceBatch]:
        """Yield batches until ``stop``; of a dataset that fits into the buffer, once."""
        if self._log is not None:
            yield from self._log.read(follow=True, stop=self._stopping)
            return
        epoch = 0
        while not self._stopping.is_set():
            for batch in self._dataset:
                if self._stopping.is_set():
                    return
                yield batch
            epoch += 1
            if not self.repeats:
                return

    def stop(self) -> None:
        """End ``batches``."""
        self._stopping.set()


def open_training_source(source: str, capacity: int) -> StreamSource | StoredSource:
    """Return the source that an argument names.

    Args:
        source: ``grpc://host:port``, ``host:port``, ``redis://host:port/db?stream=NAME``, else a folder, a file or a URL.
        capacity: Capacity of the buffer.

    Raises:
        ConfigError: If an address or URL is malformed.
        StorageError: If a folder, file or URL has no experiences.
    """
    if source.startswith(("grpc:", "grpcs:", *REDIS)) or (HOST_AND_PORT.fullmatch(source) and not Path(source).exists()):
        return StreamSource(source)
    if not source:
        raise ConfigError("source: expected the address of a server, a folder, a file or a URL, got nothing")
    return StoredSource(source, capacity)
