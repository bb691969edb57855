"""Defines what a stream gets where its request names no value of its own, and how a running server changes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from generals_env.arguments import as_config, check_flag, check_integer, make_plain
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as
from generals_env.recorders.stream.protocol.message_limits import MAX_EXPERIENCES, MAX_WAIT_MS
from generals_env.recorders.stream.protocol.overflow import OVERFLOWS

__all__ = ["CurrentDefaults", "StreamDefaults"]


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class StreamDefaults:
    """Values for streams whose requests name none.

    Attributes:
        batch_timeout_ms: How long an incomplete batch waits for more experiences, in milliseconds.
        batch_size: Maximum number of experiences of a batch of records.
        compression: Whether records are compressed for clients that ask for it by ``enable_compression``.
        policy: What happens when a consumer cannot keep up. ``"block"``: a buffer with ``overflow`` ``"block"`` or ``"raise"``
            keeps what the consumer has not received. ``"drop_oldest"``: a consumer that is more than ``max_lag`` behind
            continues with the newest ``max_lag`` experiences. ``"drop_newest"``: it gets the oldest ``max_lag``, and misses
            those that come meanwhile. With the latter two no writer waits for the consumer.
        max_lag: How many experiences a consumer may be behind; no limit if None. Not used by ``"block"``.
    """

    batch_timeout_ms: int = 100
    batch_size: int = 32
    compression: bool = True
    policy: str = "block"
    max_lag: int | None = None

    def __post_init__(self) -> None:
        """Validate the values.

        Raises:
            ConfigError: If one has a wrong type or is out of range.
        """
        make_plain(self)
        check_integer("batch_timeout_ms", self.batch_timeout_ms, 0, MAX_WAIT_MS)
        check_integer("batch_size", self.batch_size, 1, MAX_EXPERIENCES)
        check_flag("compression", self.compression)
        if self.policy not in OVERFLOWS:
            raise ConfigError(f"policy: expected one of {', '.join(OVERFLOWS)}, got {self.policy!r:.80}")
        if self.max_lag is not None:
            check_integer("max_lag", self.max_lag, 1, 2**62)


class CurrentDefaults:
    """The defaults of a server, which can be replaced while it runs.

    Attributes:
        value: The defaults of now.
    """

    def __init__(self, value: StreamDefaults | Mapping[str, Any] | None = None) -> None:
        """Begin with these defaults.

        Raises:
            ConfigError: If one has a wrong value.
        """
        self.value = as_config("defaults", StreamDefaults, value, StreamDefaults())

    def change(self, options: Mapping[str, Any]) -> StreamDefaults:
        """Replace some of the values, and return all; on an error none is replaced.

        Raises:
            ConfigError: If one has a wrong value, or an unknown name.
        """
        self.value = as_config("defaults", StreamDefaults, {**asdict(self.value), **options}, self.value)
        return self.value

    def wait(self) -> float:
        """Return how long an incomplete batch waits, in seconds."""
        return self.value.batch_timeout_ms / 1000
