"""Tests ``generals-env play`` as a process: the address it prints, its end after the page has gone or a signal, its errors."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from support.helpers import PATIENCE
from support.play_games import run_async
from support.run_process import heed_signals
from typer.testing import CliRunner

from generals_env.agents.shipped import TRAINED, trained_boards
from generals_env.agents.weight_files import NetworkWeights, weights_bytes
from generals_env.cli.app import app
from generals_env.cli.games.play import default_opponent, fitting, known_boards
from generals_env.errors import GeneralsError

COMMAND = [sys.executable, "-m", "generals_env.cli", "play", "--no-browser", "--height", "6", "--width", "7"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("interrupted", [False, True], ids=["page closed", "interrupted"])
def test_play_ends_after_its_page_or_an_interrupt(interrupted: bool) -> None:
    heed_signals()
    process = subprocess.Popen([*COMMAND, "--linger", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", first)
    assert address, first + process.communicate()[0]

    async def visit() -> None:
        origin = address[0].partition("/?")[0]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            await (await http.get(address[0])).read()
            async with http.ws_connect(f"{origin}/socket", headers={"Origin": origin}) as socket:
                while (await socket.receive_json()).get("state") != "ready":
                    pass
                await socket.send_json({"do": "start"})
                while (await socket.receive_json()).get("state") != "playing":
                    pass
                await socket.send_json({"do": "surrender"})
                while (await socket.receive_json()).get("state") != "over":
                    pass
                if interrupted:
                    process.send_signal(signal.SIGINT)
                    await asyncio.wait_for(socket.receive(), PATIENCE)

    run_async(visit)
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, output
    assert "1 game played" in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--opponent", "no_such_policy"), "opponent: expected random, expander, hunter"),
        (("--seat", "3"), "seat: expected 1 to 2, got 3"),
        (("--rules", "v99"), "rules: expected"),
        (("--players", "9", "--height", "4", "--width", "4"), "players: expected at most one"),
    ],
)
def test_play_refuses_options_that_do_not_fit(options: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(app, ["play", "--no-browser", *options])
    assert isinstance(result.exception, GeneralsError)
    assert words in str(result.exception)


def test_network_is_opposed_on_boards_that_it_knows(tmp_path: Path) -> None:
    low, high = trained_boards(TRAINED)
    for height, width in ((None, None), (low, None), (low, high)):
        name, *sides, note = default_opponent(2, "live", height, width)
        usual = min(max(20, low), high)
        assert (name, sides) == (TRAINED, [height or usual, width or usual])
        assert note.startswith(f"opponent: {TRAINED}, ")
    for players, rules, height in ((3, "live", None), (2, "competition", None), (2, "live", high + 1), (2, "live", low - 1)):
        name, *sides, note = default_opponent(players, rules, height, None)
        assert (name, sides) == ("expander", [height, None])
        assert note.startswith(f"opponent: expander, as {TRAINED} is for live games of two on boards of {low}")
    for boards in ([6, 9], [9, 6], None, [0, 5], [6], "ab", [True, 5]):
        path = tmp_path / "policy.npz"
        path.write_bytes(weights_bytes(NetworkWeights("policy_network", {}, made={"boards": boards})))
        assert known_boards(str(path)) == ((6, 9) if boards in ([6, 9], [9, 6]) else None)
    path.write_bytes(weights_bytes(NetworkWeights("policy_network", {}, made={"options": {"board": 12}})))
    assert known_boards(str(path)) == (12, 12)
    assert known_boards("expander") is None
    assert (fitting(None, 6, 9), fitting(None, 25, 30), fitting(None, 8, 24), fitting(12, 6, 9)) == (9, 25, 20, 12)
