"""Calls an HTTP server of the package."""

from __future__ import annotations

import http.client

from support.helpers import PATIENCE

__all__ = ["get"]


def get(address: str, path: str, method: str = "GET", host: str | None = None, body: str | None = None) -> tuple[int, str]:
    """Return status and text of an answer."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    connection.request(method, path, body=body, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text
