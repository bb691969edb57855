"""Implements ``generals-env serve``: streams recorded experience to trainers over gRPC."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from generals_env.cli.dataset import console
from generals_env.cli.ending_signals import REPEAT
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders import ExperienceLog, ReplayBuffer
from generals_env.recorders.formats.folder_use import DATASET, LOG, uses_of
from generals_env.recorders.stream.server.limits import Limits

__all__ = ["serve"]

TICK = 0.2  # seconds between checks whether to stop: on Windows a signal does not interrupt a wait

Pem = typer.Option(help="File in PEM.")


def serve(
    folder: Annotated[Path | None, typer.Argument(help="Folder of a log, as --log.")] = None,
    log: Annotated[Path | None, typer.Option(help="Folder of a log; created if missing.")] = None,
    buffer: Annotated[int | None, typer.Option(min=1, help="Instead: capacity of a buffer in memory.")] = None,
    address: Annotated[str, typer.Option(help="host:port; addresses of other machines need TLS.")] = "127.0.0.1:50051",
    read_only: Annotated[bool, typer.Option(help="Serve a log that another process writes to.")] = False,
    durability: Annotated[str, typer.Option(help="Of the log: commit, or normal, which syncs less often.")] = "commit",
    max_bytes: Annotated[int | None, typer.Option(help="Size of the log from which on the oldest are deleted.")] = None,
    max_age: Annotated[float | None, typer.Option(help="Seconds after which experiences of the log are deleted.")] = None,
    segment_bytes: Annotated[int, typer.Option(help="Size of a segment of the log.")] = 64 * 2**20,
    drop_unread: Annotated[bool, typer.Option(help="Delete experiences that a named consumer has not read, too.")] = False,
    min_free_bytes: Annotated[int, typer.Option(help="Free space of the disk below which the log is full.")] = 256 * 2**20,
    overflow: Annotated[str, typer.Option(help="Of a full buffer: drop_oldest, block or raise.")] = "drop_oldest",
    certificate: Annotated[Path | None, Pem] = None,
    key: Annotated[Path | None, Pem] = None,
    client_ca: Annotated[Path | None, Pem] = None,
    token_env: Annotated[str | None, typer.Option(help="Environment variable with the clients' token.")] = None,
    max_connections: Annotated[int, typer.Option(help="Limit of concurrent streams.")] = Limits.max_connections,
    max_message_bytes: Annotated[int, typer.Option(help="Limit of the size of messages.")] = Limits.max_message_bytes,
    max_requests_per_second: Annotated[
        int, typer.Option(help="Limit for each client address.")
    ] = Limits.max_requests_per_second,
    max_unpacked_bytes: Annotated[int, typer.Option(help="Limit of a submitted batch, unpacked.")] = Limits.max_unpacked_bytes,
    cache_bytes: Annotated[int, typer.Option(help="Memory for encoded ranges of a buffer.")] = Limits.cache_bytes,
    remembered: Annotated[int, typer.Option(help="Experiences among which repeats are found.")] = Limits.remembered,
    grace: Annotated[float, typer.Option(min=0, help="Seconds that consumers get to finish at the end.")] = 5.0,
) -> None:
    """Serve experience over gRPC until interrupted."""
    try:
        from generals_env.recorders.stream.server.server import ExperienceServer
    except ImportError as error:
        raise typer.BadParameter(f'{error.name} is missing: pip install "generals_env[stream]"') from error
    if [folder, log, buffer].count(None) != 2:
        raise ConfigError("log, buffer: expected one of the two, got both or neither: pass --log or --buffer")
    token = None
    if token_env is not None:
        token = os.environ.get(token_env)
        if not token:
            raise ConfigError(f"token-env: expected {token_env} in the environment, got nothing: set the variable")
    limits = Limits(max_connections, max_message_bytes, max_requests_per_second, max_unpacked_bytes, cache_bytes, remembered)
    source: ReplayBuffer | ExperienceLog
    if buffer is not None:
        source = ReplayBuffer(buffer, overflow=overflow)
    else:
        source = open_log(
            log or folder or Path(),
            durability,
            mode="r" if read_only else "a",
            max_bytes=max_bytes,
            max_age=max_age,
            segment_bytes=segment_bytes,
            drop_unread=drop_unread,
            min_free_bytes=min_free_bytes,
        )
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


def open_log(folder: Path, durability: str, **options: Any) -> ExperienceLog:
    """Open a log; options as of ``ExperienceLog``.

    Raises:
        ConfigError: If an option is invalid.
        StorageError: If the folder cannot be opened as a log; of a dataset, the message names the command that converts it.
    """
    uses = uses_of(folder)
    if DATASET in uses and LOG not in uses:
        raise StorageError(
            f"log: expected a log, got {str(folder)!r}, which holds {DATASET} ({uses[DATASET]}): make a log of them with "
            f"generals-env dataset convert {folder} {folder}-log --format log, and serve that"
        )
    return ExperienceLog(folder, durability, **options)


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
