"""Runs a real Prometheus server that scrapes a page with metrics."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from prometheus_client.registry import Collector

from generals_env.operations.metrics.transport import exposition
from support.helpers import wait_until


def program(name: str) -> str:
    """Return the path of a program of Debian, or skip the test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: apt-get install {'prometheus' if name == 'promtool' else name}")
    return path


@contextmanager
def metrics_page(collector: Collector) -> Iterator[str]:
    """Serve a collector at ``/metrics`` for the block, and yield host and port."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = exposition(collector.collect(), self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: Any) -> None:
            """Print no requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Prometheus:
    """A running server.

    Attributes:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **fields: str) -> Any:
        """Return the data of an answer of the HTTP interface, None while it does not answer."""
        try:
            with urlopen(f"{self.url}/api/v1/{path}?{urlencode(fields)}") as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, query: str) -> list[Any]:
        """Return the series of a query."""
        data = self.ask("query", query=query)
        return data["result"] if data else []

    def scrapes(self) -> int:
        """Return the number of successful scrapes, at most a day back."""
        found = self.query("sum_over_time(up[1d])")
        return int(found[0]["value"][1]) if found else 0


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Run a server that scrapes a target every second, until the end of the block; it has scraped twice before."""
    path = program("prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs:\n  - job_name: generals_env\n    static_configs: [{{targets: ['{target}']}}]\n"
    )
    options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (
        (folder / "prometheus.txt").open("w") as lines,
        subprocess.Popen([path, *options], stderr=lines, stdout=lines) as process,
    ):
        try:
            server = Prometheus(f"http://127.0.0.1:{port}")
            wait_until(lambda: server.scrapes() >= 2 or process.poll() is not None)
            assert process.poll() is None, (folder / "prometheus.txt").read_text()
            yield server
        finally:
            process.terminate()
