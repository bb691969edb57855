#!/bin/sh
# python-socketio 5.18.1 (python-engineio 4.15.1, aiohttp 3.14.5), AsyncClient over a websocket: events that are emitted right before
# disconnect() never reach the server, although each emit() was awaited and no error is raised. A bot that surrenders or leaves a game of
# generals.io and then disconnects does not do so. The events arrive if the client waits for eio.queue.join() before it
# disconnects. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet python-socketio==5.18.1 python-engineio==4.15.1 aiohttp==3.14.5
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import sys

import socketio
from aiohttp import web


async def received(waits: bool) -> list[int]:
    """Return the events that a server on this machine receives from a client that sends two and disconnects."""
    events: list[int] = []
    server = socketio.AsyncServer(async_mode="aiohttp")
    server.on("move", lambda sid, number: events.append(number))
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = socketio.AsyncClient()
    await client.connect(f"http://127.0.0.1:{runner.addresses[0][1]}", transports=["websocket"])
    await client.emit("move", 1)
    await client.emit("move", 2)
    if waits:
        await client.eio.queue.join()
    await client.disconnect()
    await asyncio.sleep(1)
    await runner.cleanup()
    return events


dropped, kept = asyncio.run(received(waits=False)), asyncio.run(received(waits=True))
if (dropped, kept) != ([], [1, 2]):
    sys.exit(f"changed: received {dropped} without waiting, {kept} after waiting")
print("as seen: received", dropped, "without waiting,", kept, "after waiting for the queue")
PYTHON
