"""Restricts access to a server: address, TLS certificates, token and request rate."""

from __future__ import annotations

import hmac
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import grpc

from generals_env.errors import ConfigError
from generals_env.recorders.stream.protocol.pem import read_pem

__all__ = [
    "AuthInterceptor",
    "check_address",
    "is_loopback",
    "load_credentials",
]

MAX_PEERS = 4096  # hosts whose requests are counted

PUBLIC_METHOD = "/grpc.health.v1.Health/Check"  # needs no token: load balancers and orchestrators have none


def check_address(address: str, secure: bool) -> str:
    """Validate an address of the form ``host:port``, and return it.

    Raises:
        ConfigError: If it has another form, or is not a loopback address and there is no TLS.
    """
    host, colon, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"address: expected host:port, got {address!r}: pass one like 127.0.0.1:50051")
    if not secure and not is_loopback(host):
        raise ConfigError(
            f"address: expected localhost, 127.0.0.1 or [::1] without certificate and key, got {address!r}: pass both for TLS"
        )
    return address


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address, which only this machine can reach."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_credentials(
    certificate: str | Path | None, key: str | Path | None, client_ca: str | Path | None
) -> grpc.ServerCredentials | None:
    """Load TLS credentials from PEM files; return None if no file is given.

    Args:
        certificate: Certificate chain of the server, its own certificate first.
        key: Private key of the certificate.
        client_ca: CA certificates for clients; if given, each client must present a certificate.

    Raises:
        ConfigError: If one of certificate and key is missing, or a file cannot be read.
    """
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("certificate, key: expected both, got one or none: pass the files of both")
    chain, private = (read_pem("certificate", certificate), read_pem("key", key))
    root = None if client_ca is None else read_pem("client_ca", client_ca)
    return grpc.ssl_server_credentials([(private, chain)], root, require_client_auth=root is not None)


class AuthInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # has no types
    """Rejects calls without the token, if one is set, and calls above the rate limit."""

    def __init__(self, token: str | None, requests_per_second: int) -> None:
        """Require ``authorization: Bearer <token>``; no token is required if it is None."""
        self._expected = None if token is None else f"Bearer {token}".encode()
        self._rate = requests_per_second
        self._lock = threading.Lock()
        self._peers: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens left and time of the last call, by host

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """See ``grpc.ServerInterceptor``."""
        handler = continuation(details)
        if handler is None:
            return None
        given = dict(details.invocation_metadata).get("authorization", "")
        given = given.encode("utf-8", "surrogateescape") if isinstance(given, str) else given
        authorized = self._expected is None or hmac.compare_digest(given, self._expected) or details.method == PUBLIC_METHOD

        def with_checks(answer: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(answer)  # the health service marks its functions as non-blocking by attributes
            def check_and_answer(request: Any, context: grpc.ServicerContext, *more: Any) -> Any:
                if not authorized:
                    context.abort(
                        grpc.StatusCode.UNAUTHENTICATED,
                        "authorization: expected the token of this server: send 'Bearer <token>'",
                    )
                if not self._allow(context.peer()):
                    context.abort(
                        grpc.StatusCode.RESOURCE_EXHAUSTED,
                        f"requests: expected at most {self._rate} per second, got more: retry later",
                    )
                return answer(request, context, *more)

            return check_and_answer

        names = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
        answers = {name: with_checks(getattr(handler, name)) for name in names if getattr(handler, name) is not None}
        return handler._replace(**answers)

    def _allow(self, peer: str) -> bool:
        """Return whether a peer may call now, by a token bucket for each host."""
        host, now = peer.rpartition(":")[0], time.monotonic()
        capacity = 2.0 * self._rate
        with self._lock:
            left, since = self._peers.pop(host, (capacity, now))
            left = min(capacity, left + (now - since) * self._rate)
            allowed = left >= 1
            self._peers[host] = (left - allowed, now)
            if len(self._peers) > MAX_PEERS:
                self._peers.popitem(last=False)
        return allowed
