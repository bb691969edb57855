"""Connects the session with the page: it runs the clock, takes messages, and sends what the seat sees."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from generals_env.errors import GeneralsError
from generals_env.play.messages import Message, RateLimit, read_message
from generals_env.play.session import OVER, PLAYING, PREPARING, Session

__all__ = ["Table"]

#: Invalid messages of one connection before it is closed.
MAX_ERRORS = 20

#: Seconds between messages while a game is prepared.
PROGRESS = 0.5

Send = Callable[[str], Awaitable[None]]


class Table:
    """A session and the one page that plays it. The clock stands still while no page is connected.

    Attributes:
        session: The session.
        games: Games that have ended.
        left: Seconds of a monotonic clock at which the last page left; None while one is connected.
        visited: Whether a page has ever been connected.
    """

    def __init__(self, session: Session) -> None:
        """Take a session that is not prepared yet."""
        self.session = session
        self.games = 0
        self.left: float | None = time.monotonic()
        self.visited = False
        self._send: Send | None = None
        self._wake = asyncio.Event()

    # --- The clock ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Prepare games and play their turns until cancelled."""
        while True:
            if self.session.state == PREPARING:
                await self._prepare()
            elif self.session.state == PLAYING and self._send is not None:
                await self._play()
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _prepare(self) -> None:
        """Prepare a game in a thread, and tell the page how long it takes: the first time kernels are compiled."""
        started = time.monotonic()
        working = asyncio.get_running_loop().run_in_executor(None, self.session.prepare)
        while not (await asyncio.wait({working}, timeout=PROGRESS))[0]:
            await self._tell({"type": "preparing", "seconds": round(time.monotonic() - started)})
        try:
            await working
        except GeneralsError as error:
            self.session.refuse(str(error))
        await self.show()

    async def _play(self) -> None:
        """Play turns at the speed of the session until the game ends or the page leaves."""
        due = time.monotonic()
        while self.session.state == PLAYING and self._send is not None:
            due += 1 / self.session.options.speed
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            if self.session.state != PLAYING or self._send is None:
                break
            due = max(due, time.monotonic() - 1)  # after a pause of the machine turns are not made up for
            self.session.play_turn()
            self._count()
            await self._tell(self.session.view())

    def _count(self) -> None:
        if self.session.state == OVER:
            self.games += 1

    # --- The page ----------------------------------------------------------------------------------------------------

    async def join(self, send: Send) -> None:
        """Take a page that has connected; one that was connected before loses the game to it."""
        if self._send is not None:
            await self._tell({"type": "taken"})
        self._send, self.left, self.visited = send, None, True
        self._wake.set()
        await self.show()

    def leave(self, send: Send) -> None:
        """Note that a page has gone."""
        if self._send is send:
            self._send, self.left = None, time.monotonic()

    def holds(self, send: Send) -> bool:
        """Return whether the game belongs to this page."""
        return self._send is send

    async def show(self) -> None:
        """Send all that the page shows."""
        if self.session.state == PREPARING:
            await self._tell({"type": "preparing", "seconds": 0})
        else:
            await self._tell(self.session.facts())
            await self._tell(self.session.view())

    async def _tell(self, content: dict[str, Any]) -> None:
        if self._send is not None:
            send = self._send
            try:
                await send(json.dumps(content, separators=(",", ":")))
            except (ConnectionError, RuntimeError):  # it is closing, and connects again
                self.leave(send)

    async def listen(self, send: Send, texts: Any) -> bool:
        """Take the messages of a page until it leaves.

        Args:
            send: Sends a text to it.
            texts: Asynchronous iterator of its messages.

        Returns:
            Whether the page kept to the form and the rate of messages; it is to be disconnected if not.
        """
        limit, errors = RateLimit(time.monotonic()), 0
        async for text in texts:
            if not limit.allows(time.monotonic()):
                await send(json.dumps({"type": "error", "text": "messages: expected at most 50 a second, got more"}))
                return False
            try:
                message = read_message(text)
                if message.kind == "take":
                    await self.join(send)
                elif self.holds(send):
                    await self._take(message)
            except GeneralsError as error:
                errors += 1
                await send(json.dumps({"type": "error", "text": str(error)[:500]}))
                if errors >= MAX_ERRORS:
                    return False
        return True

    async def _take(self, message: Message) -> None:
        """Do what the page asks for.

        Raises:
            GeneralsError: If it cannot be done now.
        """
        session, values = self.session, message.values
        if message.kind == "move":
            session.add_move(values["from"], values["to"], values["half"])
        elif message.kind == "build":
            session.add_build(values["tile"])
        elif message.kind == "undo":
            session.queue.undo()
        elif message.kind == "clear":
            session.queue.clear()
        else:
            if message.kind == "start":
                session.start()
            elif message.kind == "surrender":
                session.surrender()
                self._count()
            else:
                session.again(values)
            self._wake.set()
            await self.show()
            return
        await self._tell({"type": "queue", "queue": session.queued()})
