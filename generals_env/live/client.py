"""Plays live games over Socket.IO: connects, joins, follows the updates, and sends the moves of a policy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from generals_env.errors import StateError
from generals_env.live.agent import LivePolicy
from generals_env.live.belief import BeliefBoard
from generals_env.live.game import LiveGame
from generals_env.live.messages import GameStart, game_start, game_update, readable
from generals_env.live.options import LiveOptions
from generals_env.recorders.experience.recipe import Recipe
from generals_env.replay.recorded_game import RecordedGame

__all__ = ["LiveClient", "LiveResult", "play_live"]

#: Bytes of the largest message, and messages that may wait. The first update of the largest map has 200,000 bytes.
MAX_MESSAGE = 512 * 1024
MAX_WAITING = 64

#: Seconds at most to send what waits before a connection is closed.
LAST_WORDS = 1.0

#: Errors of the server, and what to do about them.
REFUSALS = {
    "gio_error": "",
    "error_user_id": "check the user id",
    "error_banned": "this account may not play",
    "error_queue_full": "try again later",
    "removed_from_queue": "join again",
    "server_down": "try again later",
    "server_restart": "try again later",
}
SET_USERNAME = "error_set_username"  # also sent, without text, if the name was accepted

ENDINGS = {"game_won": "won", "game_lost": "lost", "game_over": "over"}

#: The end of a connection, in place of a message.
DISCONNECTED = "disconnected"


@dataclass(frozen=True)
class LiveResult:
    """One game that was played.

    Attributes:
        outcome: ``"won"``, ``"lost"``, ``"surrendered"``, ``"over"`` (an end that was neither), or ``"disconnected"``.
        turns: Turns played.
        moves: Moves sent.
        start: How the game began.
        record: What this client saw, or None if it saw less than two turns.
    """

    outcome: str
    turns: int
    moves: int
    start: GameStart
    record: RecordedGame | None = field(repr=False, default=None)


class LiveClient:
    """A client of one account.

    Attributes:
        options: The options.
        results: The games played so far.
    """

    def __init__(
        self,
        options: LiveOptions,
        policy: LivePolicy,
        recipe: Recipe | None = None,
        on_update: Callable[[BeliefBoard], None] | None = None,
        on_result: Callable[[LiveResult], None] | None = None,
    ) -> None:
        """Prepare a client; ``run`` connects.

        Args:
            options: The options.
            policy: Chooses the moves.
            recipe: How its observations are made; None for the layout standard.
            on_update: Called with the board after each update.
            on_result: Called with each game that has ended.
        """
        self.options = options
        self.results: list[LiveResult] = []
        self._policy = policy
        self._recipe = recipe or Recipe()
        self._on_update = on_update or (lambda _: None)
        self._on_result = on_result or (lambda _: None)
        self._waiting: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._flooded = False

    async def run(self) -> list[LiveResult]:
        """Play the games; return their results.

        Raises:
            StateError: If the server refuses the client, sends what is not of its protocol, or cannot be reached.
        """
        failures = 0
        while len(self.results) < self.options.games:
            played = len(self.results)
            lost = await self._connected()
            failures = 0 if len(self.results) > played else failures + 1
            if lost and len(self.results) < self.options.games:
                if failures > self.options.reconnects:
                    raise StateError(f"server: expected a connection to {self.options.server}, got {lost}: try again later")
                await asyncio.sleep(self.options.pause * 2 ** min(failures, 6))
        return self.results

    async def _connected(self) -> str:
        """Play games over one connection; return why it ended, empty if all games are played."""
        import aiohttp
        import socketio

        self._waiting = asyncio.Queue(MAX_WAITING)
        self._flooded = False
        # The session is closed here: after a refused connection the library leaves its own one open.
        async with aiohttp.ClientSession() as session:
            client = socketio.AsyncClient(
                reconnection=False,
                handle_sigint=False,
                http_session=session,
                websocket_extra_options={"max_msg_size": MAX_MESSAGE},
            )
            client.on("*", self._received)
            client.on("disconnect", self._disconnected)
            try:
                await client.connect(self.options.server, transports=["websocket"], retry=False)
            except (socketio.exceptions.ConnectionError, aiohttp.ClientError, OSError) as error:
                return readable(str(error)) or type(error).__name__
            try:
                await self._play_games(client)
            except ConnectionResetError:
                return "a connection that was lost"
            finally:
                # The library would close the connection before it has sent what waits: leave_game, or a surrender.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(client.eio.queue.join(), LAST_WORDS)
                await client.disconnect()
        return ""

    async def _play_games(self, client: Any) -> None:
        """Play games until all are played.

        Raises:
            ConnectionResetError: If the connection ended.
            StateError: As of ``run``.
        """
        if self.options.username:
            await client.emit("set_username", (self.options.user_id, self.options.username))
        while len(self.results) < self.options.games:
            if self.results:
                await asyncio.sleep(self.options.pause)
            await self._join(client)
            await self._play(client, await self._started())

    async def _received(self, event: str, *arguments: Any) -> None:
        """Queue a message; the connection of a server that floods it is given up."""
        if event == "chat_message":  # text of other people, which this client has no use for
            return
        try:
            self._waiting.put_nowait((str(event), arguments[0] if arguments else None))
        except asyncio.QueueFull:
            self._flooded = True

    async def _disconnected(self, *_: Any) -> None:
        """Queue the end of the connection, in place of the last message if the queue is full."""
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait((DISCONNECTED, None))

    async def _next(self, seconds: float) -> tuple[str, Any]:
        """Return the next message.

        Raises:
            StateError: If none came in time, the server floods the client, or it refuses it.
            ConnectionResetError: If the connection ended.
        """
        if self._flooded:
            raise StateError(f"server: expected at most {MAX_WAITING} waiting messages, got more: it floods this client")
        try:
            event, message = await asyncio.wait_for(self._waiting.get(), seconds or None)
        except TimeoutError:
            raise StateError(f"server: expected a message within {seconds:g} seconds, got none") from None
        if event == DISCONNECTED:
            raise ConnectionResetError
        if event in REFUSALS:
            remedy = f": {REFUSALS[event]}" if REFUSALS[event] else ""
            raise StateError(f"server: refused with {event} {readable(message)!r}{remedy}")
        if event == SET_USERNAME and message:
            raise StateError(f"username: refused by the server: {readable(message)!r}: choose another name")
        return event, message

    async def _join(self, client: Any) -> None:
        """Ask for a game."""
        options = self.options
        if options.mode == "private":
            await client.emit("join_private", (options.game, options.user_id))
        elif options.mode == "1v1":
            await client.emit("join_1v1", (options.user_id,))
        else:
            await client.emit("play", (options.user_id,))
        if options.force_start and options.mode != "1v1":
            await client.emit("set_force_start", (options.game or None, True))

    async def _started(self) -> GameStart:
        """Return the start of the game that was asked for."""
        while True:
            event, message = await self._next(self.options.join_wait)
            if event == "game_start":
                return game_start(message)

    async def _play(self, client: Any, start: GameStart) -> None:
        """Play one game to its end."""
        game = LiveGame(client, BeliefBoard(start, self._recipe), self._policy, self.options.max_turns)
        outcome = DISCONNECTED
        try:
            while outcome not in ENDINGS.values():
                event, message = await self._next(self.options.wait)
                if event == "game_update":
                    game.take(game_update(message, start.players))
                    self._on_update(game.belief)
                    await game.act()
                outcome = ENDINGS.get(event, outcome)
        except asyncio.CancelledError:  # Ctrl-C: the others need not wait until the server notices
            await client.emit("surrender")
            raise
        finally:
            await game.stop()
            result = LiveResult(
                "surrendered" if game.surrendered and outcome != "won" else outcome,
                game.belief.turn,
                game.sent,
                start,
                game.record.game(game.belief, outcome),
            )
            self.results.append(result)
            self._on_result(result)
        await client.emit("leave_game")


def play_live(
    options: LiveOptions,
    policy: LivePolicy,
    recipe: Recipe | None = None,
    on_update: Callable[[BeliefBoard], None] | None = None,
    on_result: Callable[[LiveResult], None] | None = None,
) -> list[LiveResult]:
    """Play live games; arguments as of ``LiveClient``.

    Raises:
        ImportError: Without python-socketio and aiohttp (``pip install "generals_env[live]"``).
        StateError: If the server refuses the client, sends what is not of its protocol, or cannot be reached.
    """
    try:
        import aiohttp  # noqa: F401
        import socketio  # noqa: F401
    except ImportError as error:
        raise ImportError('live games need python-socketio and aiohttp: pip install "generals_env[live]"') from error
    return asyncio.run(LiveClient(options, policy, recipe, on_update, on_result).run())
