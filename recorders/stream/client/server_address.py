"""Parses the address of a server: ``host:port``, ``grpc://host:port``, or ``grpcs://host:port`` with TLS."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from generals_env.arguments import shown
from generals_env.errors import ConfigError

__all__ = ["TOKEN_VARIABLE", "ServerAddress", "parse_address"]

#: Environment variable with the token of a server, for commands and sinks that are given only its address.
TOKEN_VARIABLE = "GENERALS_ENV_TOKEN"  # noqa: S105 - a name

SCHEMES = {"grpc": False, "grpcs": True}  # whether the connection has TLS


@dataclass(frozen=True)
class ServerAddress:
    """Where a server is.

    Attributes:
        target: Host and port, as gRPC takes them.
        tls: Whether the connection has TLS.
    """

    target: str
    tls: bool


def parse_address(address: str) -> ServerAddress:
    """Return the parts of an address; one without ``grpc://`` or ``grpcs://`` is left to gRPC.

    Raises:
        ConfigError: If it is not an address.
    """
    if not isinstance(address, str) or not address:
        raise ConfigError(f"address: expected host:port, got {shown(address)}: pass one like 127.0.0.1:50051")
    scheme, separator, _ = address.partition(":")
    if scheme.lower() not in SCHEMES and "://" not in address:
        return ServerAddress(address, False)
    if scheme.lower() not in SCHEMES or not address[len(scheme) + len(separator) :].startswith("//"):
        raise ConfigError(f"address: expected grpc://host:port, or grpcs:// for TLS, got {shown(address)}")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:  # of the port, or of brackets
        raise ConfigError(f"address: expected grpc://host:port, got {shown(address)} ({error})") from error
    if "@" in parts.netloc:  # not shown: it may be a secret
        raise ConfigError(f"address: expected grpc://host:port, got text before an @: set {TOKEN_VARIABLE} to the token")
    if not parts.hostname or not port or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(
            f"address: expected {scheme.lower()}://host:port and nothing more, got {shown(address)}: pass one like "
            f"{scheme.lower()}://127.0.0.1:50051"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return ServerAddress(f"{host}:{port}", SCHEMES[scheme.lower()])
