"""How much a server lets others take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from generals_env.arguments import check_integer, make_plain
from generals_env.pickling import pickled_as

__all__ = ["DEFAULT_MESSAGE_BYTES", "Limits"]

DEFAULT_MESSAGE_BYTES = 2**22  # that gRPC lets a client take which does not say otherwise


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class Limits:
    """What a server allows; more is answered with ``RESOURCE_EXHAUSTED``.

    Attributes:
        max_connections: Streams at the same time.
        max_message_bytes: Of a message in either direction. A client is sent at most what it says that it takes, and 4 MiB if
            it does not say.
        max_requests_per_second: Of one address, streams and calls alike; twice as many at once after a rest.
        max_unpacked_bytes: Of a packed batch that is submitted, decompressed.
        cache_bytes: Packed pieces of a buffer that are kept for other consumers.
        remembered: Ids of experiences that are known again when they are submitted once more.
    """

    max_connections: int = 100
    max_message_bytes: int = 10_000_000
    max_requests_per_second: int = 500
    max_unpacked_bytes: int = 2**26
    cache_bytes: int = 2**26
    remembered: int = 1_000_000

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is no integer, or out of range.
        """
        make_plain(self)
        least = {"max_message_bytes": 2**16, "cache_bytes": 0}
        for field in fields(self):
            check_integer(field.name, getattr(self, field.name), least.get(field.name, 1), 2**30)

    def message_bytes(self, taken: int) -> int:
        """Return the most bytes of a message to a client.

        Args:
            taken: What its request says it takes; 0 if it does not.

        Raises:
            ConfigError: If it says less than 64 KiB.
        """
        if taken:
            check_integer("max_message_bytes", taken, 2**16, 2**31 - 1)
        return min(taken or DEFAULT_MESSAGE_BYTES, self.max_message_bytes)
