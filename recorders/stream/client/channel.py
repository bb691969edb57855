"""A connection to a server: plain to this machine, or with TLS, and what is sent along with every call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from generals_env.errors import ConfigError
from generals_env.recorders.stream.protocol.pem import pem

__all__ = ["Access", "open_channel"]


@dataclass(frozen=True)
class Access:
    """How to be let in; see ``ExperienceConsumer``."""

    token: str | None
    root_certificates: str | Path | None
    certificate: str | Path | None
    key: str | Path | None
    max_message_bytes: int

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)


#: A server whose machine is gone is known to be within 40 s, also while nothing is sent.
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # a minute, otherwise, whatever the line above says
    ("grpc.http2.max_pings_without_data", 0),  # any number: gRPC gives up after two
)


def open_channel(address: str, access: Access) -> Any:
    """Return a channel to ``address``; it connects when it is used.

    Raises:
        ConfigError: If a file cannot be read or is not in PEM, or a certificate has no key.
    """
    if not isinstance(address, str) or not address:
        raise ConfigError(f"address: expected host and port, got {address!r}")
    if (access.certificate is None) != (access.key is None):
        raise ConfigError("certificate, key: expected both or neither")
    options = (
        ("grpc.max_receive_message_length", access.max_message_bytes),
        ("grpc.max_send_message_length", access.max_message_bytes),
        *KEEPALIVE,
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for every consumer
    )
    if access.root_certificates is None:
        if access.certificate is not None:
            raise ConfigError("certificate: expected root_certificates beside it, got none")
        return grpc.insecure_channel(address, options)
    paths = {name: getattr(access, name) for name in ("root_certificates", "key", "certificate")}
    root, key, certificate = (None if path is None else pem(name, path) for name, path in paths.items())
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(root, key, certificate), options)
