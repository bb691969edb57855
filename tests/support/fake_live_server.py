"""A local server that speaks the protocol of live games, plays recorded games, and misbehaves on request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import socketio
from aiohttp import web

from generals_env.bridge.live_map import diff_map, encode_map
from generals_env.engine.boards import CITY
from generals_env.replay import Replay, ReplayTurn
from support.helpers import PATIENCE


class SeatMessages:
    """Writes what one player of a recorded game is sent."""

    def __init__(self, replay: Replay, seat: int) -> None:
        self.replay, self.seat = replay, seat
        self.map = self.cities = np.zeros(0, np.int64)
        self.seen: set[int] = set()

    def start(self) -> dict[str, Any]:
        teams = self.replay.start.players["team"][0].tolist()
        modifiers = int(self.replay.start.games[0]["modifiers"])
        return {
            "playerIndex": self.seat,
            "playerColors": list(range(self.replay.players)),
            "replay_id": f"{self.replay.id}-{self.seat}",
            "chat_room": "game_1",
            "usernames": [f"<b>player {k}</b>\x1b[2J" for k in range(self.replay.players)],
            "teams": teams if len(set(teams)) < len(teams) else None,
            "swamps": [],
            "options": {"modifiers": [n for n in range(15) if modifiers >> n & 1]},
        }

    def update(self, turn: ReplayTurn, attack_index: int) -> dict[str, Any]:
        owner, army, visible = turn.owner.ravel(), turn.army.ravel(), turn.visible(self.seat).ravel()
        cities = np.flatnonzero(turn.boards.terrain[0] == CITY)
        self.seen |= set(cities[visible[cities]].tolist())  # cities are known once they were seen
        sent = encode_map(self.replay.height, self.replay.width, owner, army, visible, cities.tolist())
        known = np.array(sorted(self.seen), np.int64)
        change = {"map_diff": diff_map(self.map, sent), "cities_diff": diff_list(self.cities, known), "deserts_diff": []}
        self.map, self.cities = sent, known
        homes = turn.boards.players["general"][0]
        scores = [
            {"i": p, "tiles": int((owner == p).sum()), "total": int(army[owner == p].sum()), "dead": not turn.alive[p]}
            for p in range(self.replay.players)
        ]
        return {
            "turn": turn.turn,
            "attackIndex": attack_index,
            "scores": sorted(scores, key=lambda row: (row["dead"], -row["total"], -row["tiles"])),
            "generals": [int(home) if home >= 0 and visible[home] else -1 for home in homes],
            **change,
        }


def diff_list(old: Any, new: Any) -> list[int]:
    """Return the change between lists of different lengths."""
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    return [same] if same == len(new) else [same, len(new) - same, *new[same:].tolist()]


#: Changes an update before it is sent: the number of the update (from 1) and the message; None ends the connection.
Mischief = Callable[[int, dict[str, Any]], dict[str, Any] | None]


@dataclass
class Heard:
    """What clients sent."""

    events: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for event, arguments in list(self.events) if event == name]


class FakeServer:
    """Serves one recorded game to each client that joins; ``ends`` names the last messages."""

    def __init__(
        self,
        replay: Replay,
        seat: int = 0,
        turns: int = 10**6,
        ends: tuple[tuple[str, Any], ...] = (("game_won", None), ("game_over", None)),
        mischief: Mischief | None = None,
        greets: Callable[[int], list[tuple[str, Any]]] = lambda _: [],
        slow: bool = False,
    ) -> None:
        self.replay, self.seat, self.turns, self.ends, self.mischief = replay, seat, turns, ends, mischief
        self.greets, self.slow = greets, slow
        self.heard = Heard()
        self.connections = self.connections_ended = 0
        self.indexes: dict[str, int] = {}
        self.sio = socketio.AsyncServer(async_mode="aiohttp")
        self.sio.on("connect", self.connected)
        self.sio.on("disconnect", self.disconnected)
        self.sio.on("*", self.received)
        self.tasks: list[asyncio.Task[None]] = []
        self.address = ""

    async def connected(self, sid: str, *_: Any) -> None:
        self.connections += 1
        self.indexes[sid] = 0

    async def disconnected(self, *_: Any) -> None:
        self.connections_ended += 1

    async def received(self, event: str, sid: str, *arguments: Any) -> None:
        self.heard.events.append((event, arguments))
        if event == "attack":
            self.indexes[sid] = arguments[3]
        if event in ("join_private", "join_1v1", "play"):
            self.indexes[sid] = 0
            self.tasks.append(asyncio.create_task(self.serve(sid)))

    async def serve(self, sid: str) -> None:
        for event, message in self.greets(self.connections):
            await self.sio.emit(event, message, to=sid)
        seat = SeatMessages(self.replay, self.seat)
        await self.sio.emit("queue_update", {"numPlayers": 1}, to=sid)
        await self.sio.emit("pre_game_start", to=sid)
        await self.sio.emit("game_start", seat.start(), to=sid)
        await self.sio.emit("chat_message", ("game_1", {"text": "<script>alert(1)</script>", "username": "x"}), to=sid)
        number = 0
        for turn in self.replay.play():
            if turn.turn == 0:
                continue  # the first update is that of turn 1
            number += 1
            if number > self.turns:
                break
            message: dict[str, Any] | None = seat.update(turn, self.indexes[sid])
            if self.mischief is not None:
                message = self.mischief(number, message or {})
            if message is None:
                await self.sio.disconnect(sid)
                return
            # A call waits until the client has the message: no update is lost however slow it is.
            await self.sio.call("game_update", message, to=sid, timeout=PATIENCE)
            if self.slow:
                before = len(self.heard.events)
                while len(self.heard.events) == before and self.indexes[sid] >= 0:
                    await asyncio.sleep(0.001)
        for event, message in self.ends:
            await self.sio.emit(event, message, to=sid)


@contextmanager
def serving(server: FakeServer) -> Iterator[FakeServer]:
    """Run a server on a free port of this machine, in a thread."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def run() -> None:
        app = web.Application()
        server.sio.attach(app)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.address = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stop.wait()
        while server.connections_ended < server.connections:  # what clients sent last is heard
            await asyncio.sleep(0.001)
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await server.sio.shutdown()
        await runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}  # pings of connections that are gone
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()
