"""Opens a gRPC channel to a server, with or without TLS, and holds the credentials sent with each call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from generals_env.errors import ConfigError
from generals_env.recorders.stream.client.server_address import parse_address
from generals_env.recorders.stream.protocol.pem import read_pem

__all__ = ["Access", "open_channel"]


@dataclass(frozen=True)
class Access:
    """Credentials and limits of a client; see ``ExperienceConsumer``."""

    token: str | None
    root_certificates: str | Path | None
    certificate: str | Path | None
    key: str | Path | None
    max_message_bytes: int

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The gRPC metadata sent with each call."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)


#: Detects within 40 s that the machine of the server is unreachable, also while nothing is sent.
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # else a minute, regardless of the line above
    ("grpc.http2.max_pings_without_data", 0),  # 0 for any number: by default gRPC stops after two
)


def open_channel(address: str, access: Access) -> Any:
    """Return a channel to ``address``; it connects on first use.

    Raises:
        ConfigError: If the address is invalid, a file cannot be read or is not in PEM format, or one of certificate and key is
            missing.
    """
    server = parse_address(address)
    if (access.certificate is None) != (access.key is None):
        raise ConfigError("certificate, key: expected both or neither, got one: pass the files of both")
    options = (
        ("grpc.max_receive_message_length", access.max_message_bytes),
        ("grpc.max_send_message_length", access.max_message_bytes),
        *KEEPALIVE,
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.use_local_subchannel_pool", 1),  # one connection per consumer
    )
    if access.root_certificates is None and not server.tls:
        if access.certificate is not None:
            raise ConfigError("certificate: expected root_certificates beside it, got none: pass the CA of the server")
        return grpc.insecure_channel(server.target, options)
    paths = {name: getattr(access, name) for name in ("root_certificates", "key", "certificate")}
    root, key, certificate = (None if path is None else read_pem(name, path) for name, path in paths.items())
    return grpc.secure_channel(server.target, grpc.ssl_channel_credentials(root, key, certificate), options)
