"""Serves the page of a game and its websocket on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from generals_env import replay
from generals_env.errors import GeneralsError
from generals_env.play.messages import MAX_BYTES
from generals_env.play.security import Credentials, headers_of
from generals_env.play.session import Session
from generals_env.play.table import Table

try:
    from aiohttp import WSCloseCode, WSMsgType, web
except ModuleNotFoundError as error:
    raise ImportError(f'play: expected aiohttp, got {error}: pip install "generals_env[play]"') from None

__all__ = ["PlayServer", "saved_game"]

#: Rooms with files of the page; those of the viewer draw the board.
ROOMS = ("generals_env.play", "generals_env.viewer")

KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

#: Seconds between looks whether a page is there.
TICK = 0.2


class PlayServer:
    """A server for one person.

    Attributes:
        table: The session and its page.
        address: Address that opens the page once, with its token; "" before ``start``.
    """

    def __init__(self, session: Session) -> None:
        """Take a session that is not prepared yet."""
        self.table = Table(session)
        self.address = ""
        self._credentials = Credentials(0)
        self._runner: web.AppRunner | None = None
        self._clock: asyncio.Task[None] | None = None

    async def start(self, port: int = 0) -> None:
        """Listen, and begin to prepare the first game.

        Args:
            port: Port; 0 for a free one.

        Raises:
            OSError: If the port is taken.
        """
        app = web.Application(client_max_size=MAX_BYTES, middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/assets/{name}", self._asset)
        app.router.add_get("/replay/{kind}", self._replay)
        app.router.add_get("/socket", self._socket)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        port = self._runner.addresses[0][1]
        self._credentials = Credentials(port)
        self.address = f"http://127.0.0.1:{port}/?token={self._credentials.token}"
        self._clock = asyncio.create_task(self.table.run())

    async def wait(self, first: float, again: float) -> None:
        """Return when no page has been there for a while.

        Args:
            first: Seconds to wait for the first page.
            again: Seconds to wait after a page has left.

        Raises:
            Exception: What stopped the clock, if anything did.
        """
        while True:
            await asyncio.sleep(TICK)
            if self._clock is not None and self._clock.done():
                self._clock.result()
            left = self.table.left
            # A page may come and leave between two looks: the table notes that it was there.
            if left is not None and time.monotonic() - left > (again if self.table.visited else first):
                return

    async def close(self) -> None:
        """Stop the clock, and close all connections."""
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        self.table.session.close()

    # --- Requests --------------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Refuse what is not from the page, and set the headers of every answer."""
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        if not self._credentials.is_own_host(host):
            response: web.StreamResponse = refusal(403, "Host: expected the address of this server.")
        elif origin is not None and not self._credentials.is_own_origin(origin, host):
            response = refusal(403, "Origin: expected this page.")
        elif "token" not in request.query and not self._credentials.knows(request.cookies):
            response = refusal(403, "This game belongs to another browser window: open the address that the terminal shows.")
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = refusal(error.status, error.reason)
        if not response.prepared:
            response.headers.update(headers_of(self._credentials.port))
        return response

    async def _page(self, request: web.Request) -> web.Response:
        """Return the page; the token of the address becomes a cookie."""
        response = web.Response(body=asset("play.html"), content_type="text/html", charset="utf-8")
        token = request.query.get("token")
        if token is not None:
            secret = self._credentials.exchange(token)
            if secret is not None:
                response.set_cookie(self._credentials.cookie, secret, httponly=True, samesite="Strict", path="/")
            elif not self._credentials.knows(request.cookies):
                return refusal(403, "This address was used before, or is not whole: start generals-env play again.")
        return response

    async def _asset(self, request: web.Request) -> web.Response:
        """Return a file of the page."""
        name = request.match_info["name"]
        if not self._credentials.knows(request.cookies):
            raise web.HTTPForbidden(reason="expected the page")
        if not re.fullmatch(r"[a-z-]+\.(js|css|svg)", name):
            raise web.HTTPNotFound(reason="no such file")
        body = asset(name)
        if body is None:
            raise web.HTTPNotFound(reason="no such file")
        return web.Response(body=body, content_type=KINDS[Path(name).suffix], charset="utf-8")

    async def _replay(self, request: web.Request) -> web.Response:
        """Return the game that is over as a file."""
        kind = request.match_info["kind"]
        session = self.table.session
        if not self._credentials.knows(request.cookies):
            raise web.HTTPForbidden(reason="expected the page")
        try:
            body = saved_game(session, kind)
        except GeneralsError as error:
            return refusal(409, str(error))
        name = f"generals-{session.facts()['id']}.{kind}"
        disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=body, content_type="application/octet-stream", headers=disposition)

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        """Play over a websocket."""
        if "Origin" not in request.headers or not self._credentials.knows(request.cookies):
            raise web.HTTPForbidden(reason="expected the page")
        socket = web.WebSocketResponse(max_msg_size=MAX_BYTES, heartbeat=20.0, compress=False)
        await socket.prepare(request)

        async def send(text: str) -> None:
            await socket.send_str(text)

        async def texts() -> AsyncIterator[str]:
            async for message in socket:
                if message.type != WSMsgType.TEXT:
                    return
                yield message.data

        await self.table.join(send)
        try:
            if not await self.table.listen(send, texts()):
                await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"messages out of form or too fast")
        except ConnectionError:
            pass
        finally:
            self.table.leave(send)
            await socket.close()
        return socket


def asset(name: str) -> bytes | None:
    """Return the content of a file of the page, None if there is none."""
    for room in ROOMS:
        file = files(room).joinpath("assets", name)
        if file.is_file():
            return file.read_bytes()
    return None


def refusal(status: int, text: str) -> web.Response:
    """Return an answer that is only text."""
    return web.Response(status=status, text=f"{text}\n", content_type="text/plain", charset="utf-8")


def saved_game(session: Session, kind: str) -> bytes:
    """Return the game of a session as the content of a file.

    Args:
        session: The session, after its game.
        kind: ``generals``, ``gior`` or ``html``.

    Raises:
        ReplayError: If the format cannot hold the game.
        StateError: If the game is not over.
        ConfigError: If the kind is another one.
    """
    from generals_env.viewer.page import write_page

    game = session.recorded()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"game.{kind}"
        if kind == "html":
            write_page([game], path, player=session.options.seat)
        else:
            replay.write(path, game)
        return path.read_bytes()
