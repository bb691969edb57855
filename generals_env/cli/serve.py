"""Implements ``generals-env serve``: streams recorded experience to trainers over gRPC."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from generals_env.cli.dataset import console
from generals_env.cli.ending_signals import REPEAT
from generals_env.errors import ConfigError
from generals_env.recorders import ExperienceLog, ReplayBuffer
from generals_env.recorders.stream.server.limits import Limits

__all__ = ["serve"]

TICK = 0.2  # seconds between checks whether to stop: on Windows a signal does not interrupt a wait

Pem = typer.Option(help="File in PEM.")


def serve(
    log: Annotated[Path | None, typer.Option(help="Folder of a log; created if missing.")] = None,
    buffer: Annotated[int | None, typer.Option(min=1, help="Instead: capacity of a buffer in memory.")] = None,
    address: Annotated[str, typer.Option(help="host:port; addresses of other machines need TLS.")] = "127.0.0.1:50051",
    read_only: Annotated[bool, typer.Option(help="Serve a log that another process writes to.")] = False,
    certificate: Annotated[Path | None, Pem] = None,
    key: Annotated[Path | None, Pem] = None,
    client_ca: Annotated[Path | None, Pem] = None,
    token_env: Annotated[str | None, typer.Option(help="Environment variable with the clients' token.")] = None,
    max_connections: Annotated[int, typer.Option(help="Limit of concurrent streams.")] = Limits.max_connections,
    max_message_bytes: Annotated[int, typer.Option(help="Limit of the size of messages.")] = Limits.max_message_bytes,
    max_requests_per_second: Annotated[
        int, typer.Option(help="Limit for each client address.")
    ] = Limits.max_requests_per_second,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that consumers get to finish at the end.")] = 5.0,
) -> None:
    """Serve experience over gRPC until interrupted."""
    try:
        from generals_env.recorders.stream.server.server import ExperienceServer
    except ImportError as error:
        raise typer.BadParameter(f'{error.name} is missing: pip install "generals_env[stream]"') from error
    if (log is None) == (buffer is None):
        raise ConfigError("log, buffer: expected one of the two, got both or neither: pass --log or --buffer")
    token = None
    if token_env is not None:
        token = os.environ.get(token_env)
        if not token:
            raise ConfigError(f"token-env: expected {token_env} in the environment, got nothing: set the variable")
    limits = Limits(max_connections, max_message_bytes, max_requests_per_second)
    source = ReplayBuffer(buffer) if log is None else ExperienceLog(log, mode="r" if read_only else "a")
    try:
        server = ExperienceServer(
            source, address, certificate=certificate, key=key, client_ca=client_ca, token=token, limits=limits
        )
        stopping = Stopping()
        server.start()
        console.print(f"serving at {server.address}", markup=False, highlight=False)
        while not stopping.asked and not server.wait(TICK):
            pass
        server.stop(grace)
    finally:
        source.close()
    console.print("stopped")


class Stopping:
    """Handles the signals that ask the server to stop.

    Attributes:
        asked: Whether a signal came.
    """

    def __init__(self) -> None:
        """Handle SIGINT and SIGTERM; ``EndingSignals`` converts SIGHUP of a closed terminal to SIGTERM."""
        self.asked = False
        self._last = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """Ask to stop; raise ``KeyboardInterrupt`` if a signal came before and the server still waits for consumers."""
        now = time.monotonic()
        if self.asked and now - self._last >= REPEAT:
            raise KeyboardInterrupt
        self.asked, self._last = True, now
