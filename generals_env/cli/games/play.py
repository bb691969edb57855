"""Implements ``generals-env play``: a game against an agent, in the browser."""

from __future__ import annotations

import asyncio
import signal
import webbrowser
from contextlib import suppress
from typing import Annotated, Any

import typer

from generals_env.cli.dataset import console
from generals_env.errors import ConfigError, StorageError

__all__ = ["play"]

FIRST_PAGE = 600.0  # seconds to wait until the page is opened


def play(
    opponent: Annotated[
        list[str] | None,
        typer.Option(
            help="random, expander, hunter, planner, a file of generals-env train, module:callable, or stdio:COMMAND with "
            "the rules of the competition. Once for all other players, or once for each.",
            show_default="expander",
        ),
    ] = None,
    players: Annotated[int, typer.Option(min=2, max=16, help="Players, you included.")] = 2,
    seat: Annotated[int, typer.Option(min=1, max=16, help="Your seat; 1 is the first.")] = 1,
    height: Annotated[int | None, typer.Option(min=4, max=64, help="Rows of the board.", show_default="20")] = None,
    width: Annotated[int | None, typer.Option(min=4, max=64, help="Columns of the board.", show_default="20")] = None,
    rules: Annotated[str, typer.Option(help="live, competition, or v3 to v18.")] = "live",
    speed: Annotated[float, typer.Option(help="Turns a second; the live game has 2.")] = 2.0,
    seed: Annotated[int | None, typer.Option(help="Seed of the first map.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page; without it only print its address.")
    ] = True,
    linger: Annotated[float, typer.Option(min=1, help="Seconds to wait after the page was closed.")] = 30.0,
) -> None:
    """Play against agents in the browser.

    The page is served to this machine only. The command ends some seconds after the page was closed, or with Ctrl-C.
    """
    try:
        from generals_env.play.options import SessionOptions
        from generals_env.play.server import PlayServer
        from generals_env.play.session import Session
    except ImportError as error:
        raise typer.BadParameter('play: expected aiohttp, got none: pip install "generals_env[play]"') from error
    if seat > players:
        raise ConfigError(f"seat: expected 1 to {players}, got {seat}: the seats are those of --players {players}")
    game: dict[str, Any] = {"players": players, "height": height, "width": width, "rules": rules}
    options = SessionOptions(
        opponents=tuple(opponent or ("expander",)),
        seat=seat - 1,
        speed=speed,
        seed=seed,
        game={name: value for name, value in game.items() if value is not None},
    )
    server = PlayServer(Session(options))
    try:
        asyncio.run(serve(server, port, browser, linger))
    except OSError as error:
        raise StorageError(f"port: expected one that is free, got {port} ({error}): leave --port out") from error
    games = server.table.games
    console.print(f"{games} game{'' if games == 1 else 's'} played")


async def serve(server: Any, port: int, browser: bool, linger: float) -> None:
    """Serve until the page has gone, or a signal comes."""
    await server.start(port)
    try:
        console.print(f"play at {server.address}", soft_wrap=True, highlight=False, markup=False)
        console.print("The address works once, in one browser. Ctrl-C ends the game.")
        if browser:
            await asyncio.to_thread(open_browser, server.address)
        waiting = asyncio.ensure_future(server.wait(FIRST_PAGE, linger))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(number, waiting.cancel)
        with suppress(asyncio.CancelledError):
            await waiting
    finally:
        await server.close()


def open_browser(address: str) -> None:
    """Open the address in the default browser, if there is one."""
    with suppress(webbrowser.Error):
        webbrowser.open(address)
