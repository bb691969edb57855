"""Starts the server of a game in the browser for tests, and runs what they do with it in one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp

from generals_env.play.server import PlayServer
from generals_env.play.session import Session, SessionOptions
from support.helpers import PATIENCE

__all__ = ["SMALL", "Page", "message", "ready_session", "run_async", "serving"]

T = TypeVar("T")

#: Options of a small game.
SMALL: dict[str, Any] = {"height": 6, "width": 7}


def run_async(scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a thread of its own: a browser of another test may keep the loop of this thread running."""
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(asyncio.run(asyncio.wait_for(scenario(), PATIENCE)))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def ready_session(**options: Any) -> Session:
    """Return a session whose first game is ready; ``SessionOptions`` by keyword, a small board against ``random``."""
    session = Session(SessionOptions(**{"opponents": ("random",), "seed": 1, "game": SMALL, **options}))
    session.prepare()
    return session


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[PlayServer]:
    """Serve a session; options as of ``ready_session``."""
    server = PlayServer(Session(SessionOptions(**{"opponents": ("random",), "seed": 1, "game": SMALL, **options})))
    await server.start()
    try:
        yield server
    finally:
        await server.close()


class Page:
    """Plays over the websocket as the page does; it may leave out or change headers.

    Attributes:
        http: Its cookies and connections.
        origin: ``http://host:port`` of the server.
    """

    def __init__(self, server: PlayServer) -> None:
        """Take a server; ``enter`` gets the cookie."""
        self.address = server.address
        self.origin = server.address.partition("/?")[0]
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))  # cookies of a host without a name

    async def __aenter__(self) -> Page:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def enter(self) -> int:
        """Open the address with its token; return the status."""
        return await self.status("", address=self.address)

    async def status(self, path: str, address: str | None = None, **headers: str) -> int:
        """Return the status of a request."""
        async with self.http.get(address or self.origin + path, headers=headers) as answer:
            await answer.read()
            return answer.status

    async def connect(self, **headers: str) -> aiohttp.ClientWebSocketResponse:
        """Open the websocket."""
        return await self.http.ws_connect(f"{self.origin}/socket", headers={"Origin": self.origin, **headers})


async def message(socket: aiohttp.ClientWebSocketResponse, kind: str, **fields: Any) -> dict[str, Any]:
    """Return the next message of a kind whose fields are as given."""
    while True:
        content: dict[str, Any] = await socket.receive_json()
        if content["type"] == kind and all(content[name] == value for name, value in fields.items()):
            return content
