"""A real S3 server in its own process, and a proxy before it that fails as it is told."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

BUCKET = "games"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start moto's server and return its URL."""
    pytest.importorskip("moto", reason="moto is not installed: pip install generals_env[dev]")
    port = free_port()
    log = Path(tmp_path_factory.mktemp("s3")) / "log.txt"
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):
                    break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield url
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def s3(s3_process: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of an empty place on S3; who may use it is known from the environment."""
    values = {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1", "ENDPOINT_URL": s3_process}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    urllib.request.urlopen(urllib.request.Request(f"{s3_process}/moto-api/reset", method="POST"), timeout=30).close()
    urllib.request.urlopen(urllib.request.Request(f"{s3_process}/{BUCKET}", method="PUT"), timeout=30).close()
    return f"s3://{BUCKET}/experiences"


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on to a server, but for those for which ``faults`` says otherwise, the next one first.

    Faults: ``"503"`` answers so; ``"stall"`` answers nothing for long; ``"drop"`` ends the connection before the request is
    passed on; ``"lost"`` passes it on and ends the connection without an answer; ``"cut"`` sends half of the answer.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.target = target
        self.faults: deque[str] = deque()
        self.seen: list[str] = []
        self.stopping = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients end connections when they like."""


class Passing(BaseHTTPRequestHandler):
    """One request."""

    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def passed(self) -> None:
        body = self.body()
        fault = self.server.faults.popleft() if self.server.faults else "pass"
        self.server.seen.append(f"{self.command} {fault}")
        if fault == "stall":
            self.server.stopping.wait(60)
        if fault in ("drop", "stall"):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault == "503":
            answer = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            self.answered(503, {"Content-Type": "application/xml"}, answer, len(answer))
            return
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("connection", "transfer-encoding", "expect")
        }
        connection = http.client.HTTPConnection(self.server.target.removeprefix("http://"), timeout=60)
        connection.request(self.command, self.path, body or None, headers)
        response = connection.getresponse()
        status, told, content = response.status, dict(response.headers), response.read()
        connection.close()
        if fault == "lost":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        size = int(told.get("Content-Length", len(content))) if self.command == "HEAD" else len(content)
        self.answered(status, told, content[: len(content) // 2] if fault == "cut" else content, size)
        if fault == "cut":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answered(self, status: int, headers: dict[str, str], content: bytes, size: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = passed

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def faulty_s3(s3: str, s3_process: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Return a proxy before the server, which all requests of this process go through."""
    proxy = FaultyProxy(s3_process)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.stop()
