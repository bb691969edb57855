"""Tests the HTTP server of metrics and health: answers, limits, and addresses."""

from __future__ import annotations

import http.client
import logging
import socket
import time
from collections.abc import Iterator

import pytest
from support.helpers import PATIENCE, wait_until
from support.http_calls import get

from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.operations.health import http_server
from generals_env.operations.health.http_server import REQUEST_BYTES, HttpServer, Request, Response


def hello(request: Request) -> Response:
    return Response(f"hello {request.query.get('name', 'you')}")


def broken(request: Request) -> Response:
    raise ZeroDivisionError("it is\nbroken")


def full(request: Request) -> Response:
    raise StorageError("disk: expected free space, got none")


def picky(request: Request) -> Response:
    raise ConfigError(f"count: expected a number, got {request.query.get('count')!r}")


ROUTES = {"/hello": hello, "/broken": broken, "/full": full, "/picky": picky}


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer("127.0.0.1:0", ROUTES) as server:
        yield server


def raw(server: HttpServer, sent: bytes) -> bytes:
    """Return all that the server sends after these bytes."""
    host, _, port = server.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(4096):
            received += part
        return received


def test_route_answers_with_query(server: HttpServer) -> None:
    assert get(server.address, "/hello?name=a%20b") == (200, "hello a b")
    assert get(server.address, "/hello") == (200, "hello you")


def test_head_answers_without_body(server: HttpServer) -> None:
    assert get(server.address, "/hello", "HEAD") == (200, "")


def test_unknown_path_lists_paths(server: HttpServer) -> None:
    status, text = get(server.address, "/other")
    assert status == 404
    assert text == "unknown path; expected one of:\n/hello\n/broken\n/full\n/picky\n"


@pytest.mark.parametrize(("method", "body", "status"), [("POST", "x", 405), ("DELETE", None, 405), ("GET", "x", 413)])
def test_methods_that_change_and_bodies_are_refused(server: HttpServer, method: str, body: str | None, status: int) -> None:
    assert get(server.address, "/hello", method, body=body)[0] == status


def test_failing_handler_answers_one_line_and_is_logged(server: HttpServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert get(server.address, "/broken") == (500, "ZeroDivisionError: it is broken\n")
    assert "/broken: the request failed" in caplog.text
    assert "Traceback" in caplog.text
    assert get(server.address, "/full") == (500, "disk: expected free space, got none\n")
    assert get(server.address, "/picky?count=x") == (400, "count: expected a number, got 'x'\n")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:1", 200),
        ("LOCALHOST.", 200),
        ("127.0.0.1:9090", 200),
        ("[::1]:9090", 200),
        ("attacker.example", 403),
        ("127.0.0.1.attacker.example:9090", 403),
        ("[", 403),
        ("", 403),
    ],
)
def test_loopback_server_refuses_other_host_names(server: HttpServer, host: str, status: int) -> None:
    assert get(server.address, "/hello", host=host)[0] == status


def test_server_of_all_addresses_takes_any_host_name() -> None:
    with HttpServer("0.0.0.0:0", ROUTES) as server:
        address = server.address.replace("0.0.0.0", "127.0.0.1")
        assert get(address, "/hello", host="game-server-0.game-server:9090")[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", b""),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /hello HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /hello".ljust(REQUEST_BYTES, b"a"), b"431"),
        ((b"GET /hello HTTP/1.1\r\n" + b"\r\n".join([b"a: b".ljust(200, b"c")] * 85))[:REQUEST_BYTES], b"431"),
        (b"GET /hello HTTP/1.1\r\n" + b"a: b\r\n" * 101, b"431"),
        (b"GET /hello HTTP/1.1\r\n\r\n", b"200"),
        (b"GET /hello HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"413"),
        (b"GET /hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"413"),
        (b"GET http://[ HTTP/1.1\r\n\r\n", b"400"),
    ],
)
def test_malformed_and_large_requests_get_an_answer(server: HttpServer, sent: bytes, status: bytes) -> None:
    received = raw(server, sent)
    assert received.split(b" ")[1:2] == ([status] if status else [])
    assert get(server.address, "/hello")[0] == 200


def test_slow_clients_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.3)
    with HttpServer("127.0.0.1:0", ROUTES) as server:
        host, _, port = server.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            answered = False
            while not answered:  # a byte at a time: each read succeeds, and the whole takes too long
                connection.sendall(b"a")
                time.sleep(0.01)
                connection.settimeout(0.001)
                try:
                    received = connection.recv(100)
                    answered = True
                except TimeoutError:
                    connection.settimeout(PATIENCE)
            assert b"408" in received


def test_silent_clients_do_not_keep_others_from_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 1.0)
    with HttpServer("127.0.0.1:0", ROUTES) as server:
        host, _, port = server.address.rpartition(":")
        silent = [socket.create_connection((host, int(port)), timeout=PATIENCE) for _ in range(6)]

        def answers() -> bool:
            try:
                return get(server.address, "/hello")[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        wait_until(answers)
        for connection in silent:
            connection.close()


def test_port_in_use_is_an_error_that_names_key_and_address(server: HttpServer) -> None:
    expected = f"metrics.address: expected an address that is free, got '{server.address}'"
    with pytest.raises(ConfigError, match=expected):
        HttpServer(server.address, ROUTES, "metrics.address")


@pytest.mark.parametrize("address", ["", "9090", ":9090", "localhost", "localhost:", "localhost:x", "h:70000", "::1:9090"])
def test_malformed_address_is_an_error(address: str) -> None:
    with pytest.raises(ConfigError, match=r"metrics\.address: expected host:port, got"):
        HttpServer(address, ROUTES, "metrics.address")


def test_loopback_only_server_refuses_other_addresses() -> None:
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"):
        with pytest.raises(ConfigError, match=r"debug\.address: expected a loopback address, got"):
            HttpServer(address, ROUTES, "debug.address", loopback_only=True)
    HttpServer("localhost:0", ROUTES, "debug.address", loopback_only=True).stop()


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
def test_server_listens_at_ipv6_address() -> None:
    with HttpServer("[::1]:0", ROUTES) as server:
        assert server.address.startswith("[::1]:")
        assert get(server.address, "/hello")[0] == 200


def test_server_starts_and_stops_once_and_frees_its_address() -> None:
    server = HttpServer("127.0.0.1:0", ROUTES)
    with server, pytest.raises(StateError, match="start: expected a new server"):
        server.start()
    server.stop()
    with HttpServer(server.address, ROUTES) as again:
        assert get(again.address, "/hello")[0] == 200
    with pytest.raises(StateError, match="start: expected a new server"):
        server.start()
