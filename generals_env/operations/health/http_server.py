"""Serves a few routes over HTTP to monitoring programs, by the server of Python's standard library.

One request a connection, GET and HEAD only. The size of a request, the time to send it, the time to read the answer and the
number of connections are limited, so that slow clients cannot stop others from being answered.
"""

from __future__ import annotations

import http.server
import io
import ipaddress
import logging
import os
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from generals_env.errors import ConfigError, GeneralsError, StateError

__all__ = ["Handler", "HttpServer", "Request", "Response", "is_loopback", "split_address"]

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0  # time that a client has to send its request, and again to receive the answer

REQUEST_BYTES = 16 * 1024  # request line and headers

MAX_CONNECTIONS = 64  # a further connection is closed without an answer


@dataclass(frozen=True)
class Request:
    """A request.

    Attributes:
        path: Path without the query.
        query: Arguments of the query, the last one of each name.
        headers: Headers by their names in lower case.
    """

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """An answer."""

    body: str | bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]


class HttpServer:
    """Answers requests for a few paths, each in a thread of its own.

    A handler that raises ``ConfigError`` makes the answer 400 with its text; any other exception makes it 500 with one line,
    and a log record with the traceback. A server at a loopback address rejects requests whose ``Host`` header names another
    host: else a page in a browser of this machine could read the answers, by DNS rebinding.

    Example:
        >>> server = HttpServer("127.0.0.1:0", {"/hello": lambda request: Response("hello")})
        >>> with server:
        ...     print(server.address)  # doctest: +SKIP
    """

    def __init__(
        self, address: str, routes: Mapping[str, Handler], name: str = "address", *, loopback_only: bool = False
    ) -> None:
        """Bind the address; requests are answered after ``start``.

        Args:
            address: Host and port; with port 0 the system chooses one. IPv6 hosts stand in brackets.
            routes: Function that answers, for each path.
            name: Name of the setting that holds the address, for errors and the names of threads.
            loopback_only: Whether to refuse addresses that other machines can reach.

        Raises:
            ConfigError: If the address has another form, is not free or not one of this machine, or is refused.
        """
        host, port = split_address(address, name)
        if loopback_only and not is_loopback(host):
            raise ConfigError(
                f"{name}: expected a loopback address, got {address!r}: use 127.0.0.1, and a tunnel from other machines"
            )
        self._name = name
        self._thread: threading.Thread | None = None
        self._closed = False
        try:
            self._server = _Server(host, port, dict(routes))
        except OSError as error:
            raise ConfigError(
                f"{name}: expected an address that is free, got {address!r} ({error.strerror or error}): "
                "stop the other program, or use port 0 for any free port"
            ) from error
        bound = self._server.server_address[1]
        self.address = f"{address.rpartition(':')[0]}:{bound}"

    def start(self) -> Self:
        """Answer requests from now on.

        Raises:
            StateError: If it was started or stopped before.
        """
        if self._thread is not None or self._closed:
            raise StateError("start: expected a new server, got one that was started or stopped: make another HttpServer")
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name=f"http {self._name}", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and free the address. Requests being answered are not waited for."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        """Start the server unless it was started."""
        return self if self._thread is not None else self.start()

    def __exit__(self, *details: object) -> None:
        """Stop the server."""
        self.stop()


def split_address(address: str, name: str = "address") -> tuple[str, int]:
    """Return host and port of an address such as ``127.0.0.1:9090`` or ``[::1]:9090``; the host without brackets.

    Raises:
        ConfigError: If it has another form.
    """
    host, colon, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    bracketed = bare != host
    if not colon or not bare or (":" in bare) != bracketed or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigError(f"{name}: expected host:port, got {address!r}: use one like 127.0.0.1:9090 or [::1]:9090")
    return bare, int(port)


def is_loopback(host: str) -> bool:
    """Return whether a host, without brackets, is this machine's own: ``localhost``, 127.0.0.0/8 or ``::1``."""
    try:
        return host.lower().rstrip(".") == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(http.server.ThreadingHTTPServer):
    """Binds an address, and limits the number of connections."""

    allow_reuse_address = os.name != "nt"  # there it would let two servers share a port
    allow_reuse_port = False
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, routes: dict[str, Handler]) -> None:
        self.routes = routes
        self.loopback = is_loopback(host)
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # IPv4 first: "localhost" is often both, and clients try 127.0.0.1.
        self.address_family, _, _, _, place = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        super().__init__(place[:2], _RequestHandler)  # type: ignore[arg-type]  # typed for IPv4 only

    def server_bind(self) -> None:
        """Bind without the look-up of the host's full name, which can take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a new thread; close the connection if there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no further thread can be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then count the connection as closed."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore what a client caused; log anything else."""
        logger.debug("http: connection of %s ended early", client_address, exc_info=True)


class _RequestTooLargeError(Exception):
    """A request has more bytes than allowed."""


class _LimitedReader(io.RawIOBase):
    """Reads a request from a socket, at most ``REQUEST_BYTES`` in ``REQUEST_SECONDS`` together, however it is cut."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._left = REQUEST_BYTES
        self._deadline = time.monotonic() + REQUEST_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if self._left <= 0:
            raise _RequestTooLargeError
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(memoryview(target)[: self._left])
        self._left -= count
        return count


class _RequestHandler(http.server.BaseHTTPRequestHandler):
    """Reads one request, and sends the answer of its route."""

    server: _Server
    server_version = "generals_env"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_LimitedReader(self.connection), 4096)

    def handle(self) -> None:
        """Answer one request."""
        self.requestline, self.request_version, self.command = "", "HTTP/1.0", ""
        try:
            self.raw_requestline = self.rfile.readline(REQUEST_BYTES)
            if not self.raw_requestline or not self.parse_request():
                return
            response = self._answer()
        except _RequestTooLargeError:
            response = Response(f"expected a request of at most {REQUEST_BYTES} bytes, got more\n", 431)
        except TimeoutError:
            response = Response(f"expected the whole request within {REQUEST_SECONDS:g} s\n", 408)
        self._send(response)

    def _answer(self) -> Response:
        """Return the answer to the request that was read."""
        if self.command not in {"GET", "HEAD"}:
            return Response(f"expected GET or HEAD, got {self.command}\n", 405, headers={"Allow": "GET, HEAD"})
        if self.headers.get("Transfer-Encoding") or self.headers.get("Content-Length", "0").strip() != "0":
            return Response("expected a request without a body\n", 413)
        if self.server.loopback and not names_loopback(self.headers):
            return Response("Host: expected localhost or a loopback address, got another host\n", 403)
        try:
            parts = urlsplit(self.path)
        except ValueError as error:
            return Response(f"expected a path, got another address: {error}\n", 400)
        handler = self.server.routes.get(parts.path)
        if handler is None:
            paths = "".join(f"{path}\n" for path in self.server.routes)
            return Response(f"unknown path; expected one of:\n{paths}", 404)
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            return handler(Request(parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers))
        except ConfigError as error:
            return Response(f"{error}\n", 400)
        except Exception as error:  # the next request must be answered
            logger.exception("%s: the request failed", parts.path)
            text = str(error) if isinstance(error, GeneralsError) else f"{type(error).__name__}: {error}"
            return Response(f"{' '.join(text.split())}\n", 500)

    def _send(self, response: Response) -> None:
        """Send an answer within ``REQUEST_SECONDS``."""
        body = response.body.encode() if isinstance(response.body, str) else response.body
        self.request_version = "HTTP/1.0"  # else clients that name no version get no status
        self.connection.settimeout(REQUEST_SECONDS)  # for all bytes of one ``sendall``
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that the base class does not understand."""
        self._send(Response(f"{message or 'expected another request'}\n", int(code)))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Log each answer at the lowest level."""
        logger.debug("http: " + format, *args)


def names_loopback(headers: Message) -> bool:
    """Return whether the ``Host`` header, if there is one, names this machine; browsers always send it."""
    host = headers.get("Host")
    if host is None:
        return True
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
