"""Parses the address of a stream in Redis: ``redis://host:port/db?stream=NAME``, and connects to its server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from generals_env.arguments import shown
from generals_env.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    import redis

__all__ = ["PASSWORD_VARIABLE", "RedisAddress", "connect", "parse_redis_address"]

#: Environment variable with the password of a server; an address is shown in logs, so it never has one.
PASSWORD_VARIABLE = "GENERALS_ENV_REDIS_PASSWORD"  # noqa: S105 - a name

SCHEMES = {"redis": False, "rediss": True}  # whether the connection has TLS

PORT = 6379  # of Redis, by default

NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

EXAMPLE = "redis://127.0.0.1:6379/0?stream=games"

CONNECT_TIMEOUT = 5.0  # seconds


@dataclass(frozen=True)
class RedisAddress:
    """Where a stream is.

    Attributes:
        host: Name or IP address of the server.
        port: Port of the server.
        database: Number of the database.
        tls: Whether the connection has TLS.
        stream: Name of the stream, which is its key.
        group: Consumer group to read as; None to read by position.
        consumer: Name of the consumer in the group; None for a random one.
        username: User of the server; None for its default user.
    """

    host: str
    port: int
    database: int
    tls: bool
    stream: str
    group: str | None = None
    consumer: str | None = None
    username: str | None = None


def parse_redis_address(address: str) -> RedisAddress:
    """Return the parts of ``redis://[user@]host[:port][/db]?stream=NAME[&group=NAME][&consumer=NAME]``.

    Raises:
        ConfigError: If it is not such an address, or has a password.
    """
    scheme = address.partition(":")[0].lower() if isinstance(address, str) else ""
    if scheme not in SCHEMES or not address[len(scheme) :].startswith("://"):
        raise ConfigError(f"address: expected redis:// or rediss://, got {shown(address)}: pass one like {EXAMPLE}")
    if "@" in address and ":" in address.partition("://")[2].rpartition("@")[0]:  # not shown: it has a secret
        raise ConfigError(f"address: expected no password in it, got one before the @: set {PASSWORD_VARIABLE} to it")
    try:
        parts = urlsplit(address)
        port, pairs = parts.port, parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:  # of the port, brackets, or the part after the question mark
        raise ConfigError(f"address: expected one like {EXAMPLE}, got {shown(address)} ({error})") from error
    options = dict(pairs)
    database = parts.path.strip("/") or "0"
    if not parts.hostname or parts.fragment or port == 0 or not (database.isdecimal() and len(database) < 10):
        raise ConfigError(f"address: expected one like {EXAMPLE}, got {shown(address)}: pass host, port and database")
    unknown = sorted(set(options) - {"stream", "group", "consumer"})
    if unknown or len(options) < len(pairs):
        raise ConfigError(  # without the values, as one may be a password
            "address: expected stream, group and consumer after the ?, each once, got "
            f"{shown(sorted(name for name, _ in pairs))}: "
            f"pass other options as arguments, and a password as {PASSWORD_VARIABLE}"
        )
    for name, value in options.items():
        if not NAME.fullmatch(value):
            raise ConfigError(
                f"address: expected a {name} of 1 to 128 letters, digits and _ . : -, got {shown(value)}: pass another name"
            )
    if "stream" not in options:
        raise ConfigError(f"address: expected the name of a stream, got {shown(address)}: append ?stream=NAME")
    if "consumer" in options and "group" not in options:
        raise ConfigError(f"address: expected a group for the consumer, got {shown(address)}: append &group=NAME")
    user = None if parts.username is None else unquote(parts.username)
    return RedisAddress(
        parts.hostname, port or PORT, int(database), SCHEMES[scheme], options["stream"], options.get("group"),
        options.get("consumer"), user,
    )  # fmt: skip


def connect(address: RedisAddress, timeout: float, root_certificates: str | Path | None = None) -> redis.Redis:
    """Return a client, which connects with its first command.

    Args:
        address: Where the server is.
        timeout: Seconds in which the server must answer a command.
        root_certificates: PEM file with CA certificates for the server; by default those of Python's ``ssl``.

    Raises:
        ImportError: Without redis-py (``pip install "generals_env[redis]"``).
    """
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ModuleNotFoundError as error:
        raise ImportError(f'redis: expected {error.name}, got none: pip install "generals_env[redis]"') from None
    return redis.Redis(
        host=address.host,
        port=address.port,
        db=address.database,
        username=address.username,
        password=os.environ.get(PASSWORD_VARIABLE) or None,
        ssl=address.tls,
        ssl_ca_certs=None if root_certificates is None else str(root_certificates),
        socket_timeout=timeout,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_keepalive=True,
        protocol=2,  # answers of scripts have another form in version 3
        retry=Retry(NoBackoff(), 0),  # calls are repeated here, with a count, and only those that may be
    )
