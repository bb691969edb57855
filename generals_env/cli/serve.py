"""``generals-env serve``: hand recorded experience to trainers anywhere."""

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

TICK = 0.2  # seconds between looks at whether to stop: on Windows nothing interrupts a wait

Pem = typer.Option(help="File in PEM.")


def serve(
    log: Annotated[Path | None, typer.Option(help="Folder of a log; made if it is not there.")] = None,
    buffer: Annotated[int | None, typer.Option(min=1, help="Instead, keep this many submitted experiences in memory.")] = None,
    address: Annotated[str, typer.Option(help="host:port; others than this machine need TLS.")] = "127.0.0.1:50051",
    read_only: Annotated[bool, typer.Option(help="Serve a log that another process writes to.")] = False,
    certificate: Annotated[Path | None, Pem] = None,
    key: Annotated[Path | None, Pem] = None,
    client_ca: Annotated[Path | None, Pem] = None,
    token_env: Annotated[str | None, typer.Option(help="Environment variable with the token that clients bring.")] = None,
    max_connections: Annotated[int, typer.Option(help="Streams at the same time.")] = Limits.max_connections,
    max_message_bytes: Annotated[int, typer.Option(help="Of a message in either direction.")] = Limits.max_message_bytes,
    max_requests_per_second: Annotated[int, typer.Option(help="Of one address.")] = Limits.max_requests_per_second,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that consumers have at the end.")] = 5.0,
) -> None:
    """Serve experience over gRPC until interrupted."""
    try:
        from generals_env.recorders.stream.server.server import ExperienceServer
    except ImportError as error:
        raise typer.BadParameter(f'{error.name} is missing: pip install "generals_env[stream]"') from error
    if (log is None) == (buffer is None):
        raise ConfigError("log, buffer: expected one of the two, got both or neither")
    token = None
    if token_env is not None:
        token = os.environ.get(token_env)
        if not token:
            raise ConfigError(f"token-env: expected {token_env} in the environment, got nothing")
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
    """Whether the process was asked to end.

    Attributes:
        asked: Whether it was.
    """

    def __init__(self) -> None:
        """Listen for SIGINT and SIGTERM; ``EndingSignals`` makes SIGTERM of a terminal that closes."""
        self.asked = False
        self._last = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """Take note; raise ``KeyboardInterrupt`` if that was asked for before, and consumers are still waited for."""
        now = time.monotonic()
        if self.asked and now - self._last >= REPEAT:
            raise KeyboardInterrupt
        self.asked, self._last = True, now
