"""Tests the server of a game: which requests it answers, hostile messages, tabs, lost connections and saved games."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.play_games import Page, message, run_async, serving

from generals_env.errors import ConfigError
from generals_env.play.messages import RateLimit, read_message
from generals_env.play.security import Credentials

SECRET_PATHS = ("/", "/assets/play.js", "/replay/generals", "/socket", "/nothing")


def test_token_opens_the_page_once() -> None:
    async def scenario() -> None:
        async with serving() as server, Page(server) as page, Page(server) as other:
            assert [await other.status(path) for path in SECRET_PATHS] == [403] * 5
            assert await other.status("/?token=") == 403
            assert await other.status("/?token=%C3%A4") == 403
            assert await other.status("/assets/play.js", address=f"{other.address.replace('/?', '/assets/play.js?')}") == 403
            assert await page.enter() == 200
            assert await other.enter() == 403
            assert [await other.status(path) for path in SECRET_PATHS] == [403] * 5
            assert await page.status("/") == await page.enter() == 200  # the same browser loads the page again
            assert await page.status("/assets/board.js") == 200
            assert await page.status("/assets/..%2fserver.py") == await page.status("/assets/nothing.js") == 404
            assert await page.status("/replay/generals") == 409  # the game is not over

    run_async(scenario)


def test_secrets_of_bytes_that_are_no_text_are_refused() -> None:
    credentials = Credentials(1)
    assert not credentials.knows({credentials.cookie: "\udcff\udcfe"})  # as aiohttp decodes the bytes FF FE of a header
    assert credentials.exchange("\udcff") is None
    secret = credentials.exchange(credentials.token)
    assert secret is not None
    assert credentials.knows({credentials.cookie: secret})


def test_foreign_hosts_and_origins_are_refused() -> None:
    async def scenario() -> None:
        async with serving() as server, Page(server) as page:
            assert await page.enter() == 200
            port = page.origin.rpartition(":")[2]
            for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port}.evil.example", ""):
                assert await page.status("/", Host=host) == 403
            assert await page.status("/", Host=f"localhost:{port}") == 200
            for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}", f"http://localhost:{port}"):
                assert await page.status("/", Origin=origin) == 403
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await page.connect(Origin=origin)
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await page.http.ws_connect(f"{page.origin}/socket")  # without an Origin
            async with await page.connect() as socket:
                assert (await message(socket, "game"))["names"] == ["You", "random"]

    run_async(scenario)


def test_answers_forbid_other_sources_and_frames() -> None:
    async def scenario() -> None:
        async with serving() as server, Page(server) as page:
            for address in (page.address, page.origin + "/assets/play.css", page.origin + "/no"):
                async with page.http.get(address) as answer:
                    policy = answer.headers["Content-Security-Policy"]
                    assert "default-src 'none'" in policy
                    assert "frame-ancestors 'none'" in policy
                    assert "unsafe" not in policy
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["Referrer-Policy"] == "no-referrer"
            cookie = next(iter(page.http.cookie_jar))
            assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")

    run_async(scenario)


HOSTILE = ["", "[]", "null", "{", '"start"', '{"do":["start"]}', '{"do":"eval"}', '{"do":"move"}', "[" * 900, "9" * 5000]
HOSTILE += ['{"do":"move","from":0,"to":1,"half":1}', '{"do":"move","from":-1,"to":0,"half":true}', '{"do":"start","x":1}']
HOSTILE += ['{"do":"move","from":1e300,"to":true,"half":true}', '{"do":"again","rules":"v2"}', '{"do":"again","seat":"0"}']
HOSTILE += ['{"do":"build","tile":9999999999999999999999}', '{"do":"again","rules":["live"]}']


@pytest.mark.parametrize("text", HOSTILE)
def test_messages_out_of_form_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^message"):
        read_message(text)


@settings(max_examples=50, deadline=None)
@given(st.one_of(st.text(max_size=40), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_text_is_a_message_or_is_refused(text: str) -> None:
    kinds: list[str] = []
    with suppress(ConfigError):
        kinds.append(read_message(text).kind)
    assert set(kinds) <= {"start", "undo", "clear", "surrender", "again", "take"}


def test_messages_with_errors_get_an_answer_and_end_the_connection() -> None:
    async def scenario() -> None:
        async with serving() as server, Page(server) as page:
            await page.enter()
            async with await page.connect() as socket:
                await message(socket, "turn", state="ready")
                await socket.send_str('{"do":"move","from":0,"to":9,"half":false}')
                assert "neighbours" in (await message(socket, "error"))["text"]
                await socket.send_str('{"do":"surrender"}')
                assert "being played" in (await message(socket, "error"))["text"]
                for _ in range(18):
                    await socket.send_str("nonsense")
                    await message(socket, "error")
                assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
                assert socket.close_code == 1008
            async with await page.connect() as socket:  # the game goes on
                await message(socket, "turn", state="ready")
                await socket.send_bytes(b"\x00" * 10)
                assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
            async with await page.connect() as socket:
                await message(socket, "turn", state="ready")
                await socket.send_str("x" * 5000)
                assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
                assert socket.close_code == 1009  # too large

    run_async(scenario)


def test_messages_that_come_too_fast_end_the_connection() -> None:
    async def scenario() -> None:
        async with serving() as server, Page(server) as page:
            await page.enter()
            async with await page.connect() as socket:
                await message(socket, "turn", state="ready")
                try:
                    for _ in range(20_000):
                        await socket.send_str('{"do":"clear"}')
                except ConnectionError:
                    pass  # closed by the server
                while (received := await socket.receive()).type == aiohttp.WSMsgType.TEXT:
                    pass
                assert received.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)

    run_async(scenario)
    limit = RateLimit(0.0, rate=2.0, burst=3.0)
    assert [limit.allows(now) for now in (0.0, 0.0, 0.0, 0.1, 0.4, 0.6, 2.0)] == [True, True, True, False, False, True, True]


def test_second_tab_takes_the_game_and_the_first_can_take_it_back() -> None:
    async def scenario() -> None:
        async with serving(speed=50) as server, Page(server) as page:
            await page.enter()
            async with await page.connect() as first, await page.connect() as second:
                await message(first, "taken")
                await message(second, "turn", state="ready")
                await first.send_json({"do": "start"})  # has no effect
                await first.send_json({"do": "take"})
                await message(second, "taken")
                await message(first, "turn", state="ready", turn=0)
                await first.send_json({"do": "start"})
                assert (await message(first, "turn", state="playing"))["turn"] == 0
                await message(first, "turn", turn=5)

    run_async(scenario)


def test_game_waits_for_a_lost_page_and_goes_on() -> None:
    async def scenario() -> None:
        async with serving(speed=50, opponents=("expander",), game={"height": 12, "width": 12}) as server, Page(server) as page:
            await page.enter()
            async with await page.connect() as socket:
                await message(socket, "turn", state="ready")
                await socket.send_json({"do": "start"})
                await message(socket, "turn", turn=3)
            while server.table.left is None:
                await asyncio.sleep(0.01)
            left = server.table.session.turn
            await asyncio.sleep(0.1)
            assert server.table.session.turn == left
            async with await page.connect() as socket:
                assert (await message(socket, "turn"))["turn"] == left
                await message(socket, "turn", turn=left + 2)
                await socket.send_json({"do": "surrender"})
                result = (await message(socket, "turn", state="over"))["result"]
                assert (result["kind"], result["surrendered"]) == ("lost", True)
                await socket.send_json({"do": "again", "height": 5})
                game: dict[str, Any] = await message(socket, "game", rows=5)
                assert game["columns"] == 12
                await message(socket, "turn", state="ready", turn=0)
            assert server.table.games == 1
            await server.wait(first=0.0, again=0.2)  # ends as no page comes back

    run_async(scenario)
