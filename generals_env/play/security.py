"""Decides which requests the server answers: those of one browser that was given the one-time address.

Other programs and pages of the same machine can reach a port of the loopback interface, and pages of other sites can have a
browser send requests to it. So a request needs the secret of the session, which the browser gets in exchange for the token of
the address, once; its Host must be ours, against names of other sites that lead here (DNS rebinding); and its Origin, if it
has one, must be this page.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping

__all__ = ["Credentials", "headers_of"]


class Credentials:
    """The token of the address and the secret of the session.

    Attributes:
        token: Part of the address; it works once.
        port: Port of the server.
    """

    def __init__(self, port: int) -> None:
        """Draw both."""
        self.port = port
        self.token = secrets.token_urlsafe(24)
        self._secret = secrets.token_urlsafe(32)
        self._used = False

    @property
    def cookie(self) -> str:
        """Name of the cookie: cookies do not distinguish ports, so it has the port in it."""
        return f"generals_env_{self.port}"

    def is_own_host(self, host: str) -> bool:
        """Return whether a Host header names this server."""
        return host in (f"127.0.0.1:{self.port}", f"localhost:{self.port}")

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Return whether an Origin header is that of the page which ``host`` serves."""
        return self.is_own_host(host) and origin == f"http://{host}"

    def exchange(self, token: str) -> str | None:
        """Return the secret for the token the first time, None for another text and from the second time on."""
        if self._used or not same_text(token, self.token):
            return None
        self._used = True
        return self._secret

    def knows(self, cookies: Mapping[str, str]) -> bool:
        """Return whether cookies have the secret."""
        return same_text(cookies.get(self.cookie, ""), self._secret)


def same_text(given: str, secret: str) -> bool:
    """Return whether a text is the secret, in constant time; bytes of a header that are no UTF-8 are surrogates in it."""
    return hmac.compare_digest(given.encode(errors="replace"), secret.encode())


def headers_of(port: int) -> dict[str, str]:
    """Return the headers of every answer: the page loads nothing but from this server, and no page may embed it."""
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self' ws://127.0.0.1:{port} ws://localhost:{port}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
