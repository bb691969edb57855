"""Implements ``generals-env play``: a game against an agent, in the browser."""

from __future__ import annotations

import asyncio
import signal
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from generals_env.agents.shipped import TRAINED, is_shipped, trained_boards
from generals_env.bridge.batch_policies import is_file
from generals_env.cli.dataset import console
from generals_env.errors import ConfigError, StorageError

__all__ = ["play"]

BOARD = 20  # rows and columns of a board without another size
FIRST_PAGE = 600.0  # seconds to wait until the page is opened


def play(
    opponent: Annotated[
        list[str] | None,
        typer.Option(
            help="random, expander, hunter, planner, trained, a saved network, module:callable, or stdio:COMMAND with the "
            "rules of the competition. Once for all other players, or once for each.",
            show_default="trained, or expander where its training does not fit",
        ),
    ] = None,
    players: Annotated[int, typer.Option(min=2, max=16, help="Players, you included.")] = 2,
    seat: Annotated[int, typer.Option(min=1, max=16, help="Your seat; 1 is the first.")] = 1,
    height: Annotated[
        int | None, typer.Option(min=4, max=64, help="Rows of the board.", show_default="20, or what the opponent knows")
    ] = None,
    width: Annotated[int | None, typer.Option(min=4, max=64, help="Columns of the board.", show_default="as height")] = None,
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
    note = ""
    if not opponent:
        name, height, width, note = default_opponent(players, rules, height, width)
        opponent = [name]
    elif rules == "live" and (boards := known_boards(opponent[0])):
        height, width = (fitting(side, *boards) for side in (height, width))
    game: dict[str, Any] = {"players": players, "height": height, "width": width, "rules": rules}
    options = SessionOptions(
        opponents=tuple(opponent),
        seat=seat - 1,
        speed=speed,
        seed=seed,
        game={name: value for name, value in game.items() if value is not None},
    )
    server = PlayServer(Session(options))
    try:
        asyncio.run(serve(server, port, browser, linger, note))
    except OSError as error:
        raise StorageError(f"port: expected one that is free, got {port} ({error}): leave --port out") from error
    games = server.table.games
    console.print(f"{games} game{'' if games == 1 else 's'} played")


def default_opponent(
    players: int, rules: str, height: int | None, width: int | None
) -> tuple[str, int | None, int | None, str]:
    """Return the opponent that a game gets without ``--opponent``, its rows and columns, and a line that says why.

    It is the agent of the package where the game is one that it was trained for; it was trained by the rules of the live game.
    """
    low, high = trained_boards(TRAINED)
    rows, columns = fitting(height, low, high), fitting(width, low, high)
    trained_on = f"boards of {low}x{low}" if low == high else f"boards of {low} to {high} rows and columns"
    if players == 2 and rules == "live" and all(low <= side <= high for side in (rows, columns)):
        why = f"opponent: {TRAINED}, a network that was trained on {trained_on}; board {rows}x{columns}"
        return TRAINED, rows, columns, why
    return "expander", height, width, f"opponent: expander, as {TRAINED} is for live games of two on {trained_on}"


def known_boards(opponent: str) -> tuple[int, int] | None:
    """Return the smallest and the largest side of the boards on which an opponent was trained; None if nothing tells."""
    if is_shipped(opponent):
        return trained_boards(opponent)
    if not is_file(opponent) or Path(opponent).suffix == ".zip":
        return None
    from generals_env.networks.saved_players import load_network_weights

    return load_network_weights(opponent).boards


def fitting(side: int | None, low: int, high: int) -> int:
    """Return the given side of a board, or without one that of usual boards, if the opponent knows them."""
    return min(max(BOARD, low), high) if side is None else side


async def serve(server: Any, port: int, browser: bool, linger: float, note: str) -> None:
    """Serve until the page has gone, or a signal comes."""
    await server.start(port)
    try:
        console.print(f"play at {server.address}", soft_wrap=True, highlight=False, markup=False)
        console.print("The address works once, in one browser. Ctrl-C ends the game.")
        if note:
            console.print(note, soft_wrap=True, highlight=False, markup=False)
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
