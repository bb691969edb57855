"""Defines the limits that a server imposes on its clients."""

from __future__ import annotations

from dataclasses import dataclass, fields

from generals_env.arguments import check_integer, make_plain
from generals_env.pickling import pickled_as

__all__ = ["DEFAULT_MESSAGE_BYTES", "Limits"]

DEFAULT_MESSAGE_BYTES = 2**22  # gRPC's default limit for received messages, for clients that do not send theirs


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class Limits:
    """Limits of an ``ExperienceServer``; requests beyond them get ``RESOURCE_EXHAUSTED``.

    Attributes:
        max_connections: Maximum number of concurrent streams.
        max_message_bytes: Maximum size of a message in either direction. A client gets messages up to the size in its request,
            4 MiB by default.
        max_requests_per_second: Maximum rate of one address, streams and calls together; bursts of twice as many are allowed.
        max_unpacked_bytes: Maximum decompressed size of a submitted packed batch.
        cache_bytes: Size of the cache of encoded ranges of a buffer.
        remembered: How many ids of experiences are kept to detect repeated submissions.
    """

    max_connections: int = 100
    max_message_bytes: int = 10_000_000
    max_requests_per_second: int = 500
    max_unpacked_bytes: int = 2**26
    cache_bytes: int = 2**26
    remembered: int = 1_000_000

    def __post_init__(self) -> None:
        """Validate the values.

        Raises:
            ConfigError: If one is not an integer or out of range.
        """
        make_plain(self)
        minimum = {"max_message_bytes": 2**16, "cache_bytes": 0}
        for field in fields(self):
            check_integer(field.name, getattr(self, field.name), minimum.get(field.name, 1), 2**30)

    def message_bytes(self, taken: int) -> int:
        """Return the maximum size of a message to a client.

        Args:
            taken: The client's own limit from its request; 0 for gRPC's default.

        Raises:
            ConfigError: If the client's limit is below 64 KiB.
        """
        if taken:
            check_integer("max_message_bytes", taken, 2**16, 2**31 - 1)
        return min(taken or DEFAULT_MESSAGE_BYTES, self.max_message_bytes)
