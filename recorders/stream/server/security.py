"""Who may call: addresses, certificates, a token, and how often."""

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
from generals_env.recorders.stream.protocol.pem import pem

__all__ = [
    "AuthInterceptor",
    "checked_address",
    "credentials_of",
    "is_loopback",
]

MAX_PEERS = 4096  # whose calls are counted

OPEN = "/grpc.health.v1.Health/Check"  # needs no token: who watches over the server knows none


def checked_address(address: str, secure: bool) -> str:
    """Return an address of the form ``host:port``.

    Raises:
        ConfigError: If it is none, or others than this machine could reach it without TLS.
    """
    host, colon, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"address: expected host:port, got {address!r}")
    if not secure and not is_loopback(host):
        raise ConfigError(f"address: expected localhost, 127.0.0.1 or [::1] without certificate and key, got {address!r}")
    return address


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def credentials_of(
    certificate: str | Path | None, key: str | Path | None, client_ca: str | Path | None
) -> grpc.ServerCredentials | None:
    """Return TLS of files in PEM, None without any.

    Args:
        certificate: Of the server, those that vouch for it behind it.
        key: Of the certificate.
        client_ca: Certificates that vouch for clients; then each has to show one.

    Raises:
        ConfigError: If one of certificate and key is missing, or a file cannot be read.
    """
    if certificate is None and key is None and client_ca is None:
        return None
    if certificate is None or key is None:
        raise ConfigError("certificate, key: expected both, got one")
    chain, private = (pem("certificate", certificate), pem("key", key))
    root = None if client_ca is None else pem("client_ca", client_ca)
    return grpc.ssl_server_credentials([(private, chain)], root, require_client_auth=root is not None)


class AuthInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # has no types
    """Lets calls pass that bring the token, if there is one, and do not come too often."""

    def __init__(self, token: str | None, requests_per_second: int) -> None:
        """Ask for ``authorization: Bearer <token>``."""
        self._expected = None if token is None else f"Bearer {token}".encode()
        self._rate = requests_per_second
        self._lock = threading.Lock()
        self._peers: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many calls each has left, and since when

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """See ``grpc.ServerInterceptor``."""
        handler = continuation(details)
        if handler is None:
            return None
        given = dict(details.invocation_metadata).get("authorization", "")
        given = given.encode("utf-8", "surrogateescape") if isinstance(given, str) else given
        known = self._expected is None or hmac.compare_digest(given, self._expected) or details.method == OPEN

        def guarded(answer: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(answer)  # health tells gRPC by attributes of its functions that they hold no thread
            def answer_or_refuse(request: Any, context: grpc.ServicerContext, *more: Any) -> Any:
                if not known:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "authorization: expected the token of this server")
                if not self._admits(context.peer()):
                    context.abort(
                        grpc.StatusCode.RESOURCE_EXHAUSTED, f"requests: expected {self._rate} a second at the most, got more"
                    )
                return answer(request, context, *more)

            return answer_or_refuse

        names = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
        answers = {name: guarded(getattr(handler, name)) for name in names if getattr(handler, name) is not None}
        return handler._replace(**answers)

    def _admits(self, peer: str) -> bool:
        """Return whether a peer may call now: a bucket of tokens for each host, filled at the rate."""
        host, now = peer.rpartition(":")[0], time.monotonic()
        most = 2.0 * self._rate
        with self._lock:
            left, since = self._peers.pop(host, (most, now))
            left = min(most, left + (now - since) * self._rate)
            admitted = left >= 1
            self._peers[host] = (left - admitted, now)
            if len(self._peers) > MAX_PEERS:
                self._peers.popitem(last=False)
        return admitted
