"""Checks before the first game that everything the settings name can be used, so that a run fails at once or not at all."""

from __future__ import annotations

import socket
from collections.abc import Callable

from generals_env.errors import ConfigError, GeneralsError, StorageError
from generals_env.operations.run.files import open_writer
from generals_env.operations.run.pipeline import open_log, token_of
from generals_env.operations.run.players import load_model
from generals_env.operations.settings.models import Settings
from generals_env.opponents import is_builtin

__all__ = ["check_run"]


def check_run(settings: Settings) -> None:
    """Check addresses, folders, bucket, token, certificates, games and policies.

    Raises:
        ConfigError: A line for each thing that cannot be used.
    """
    checks: list[Callable[[Settings], None]] = [check_games]
    if settings.collection.enabled:
        if settings.log.enabled:
            checks.append(check_log)
        if settings.storage.enabled:
            checks.append(check_storage)
        if settings.streaming.enabled:
            checks.append(check_stream)
    if settings.metrics.enabled:
        checks.append(lambda settings: check_free("metrics.address", settings.metrics.address))
    if settings.debug.enabled:
        checks.append(lambda settings: check_free("debug.address", settings.debug.address))
    problems = []
    for check in checks:
        try:
            check(settings)
        except (GeneralsError, ImportError) as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def check_games(settings: Settings) -> None:
    """Load the checkpoints of policies; the settings have checked the options of the games.

    Raises:
        StorageError: If one cannot be loaded.
    """
    for name in sorted(set(settings.games.policies)):
        if not is_builtin(name):
            load_model(name)


def check_log(settings: Settings) -> None:
    """Open the log as the collector will; this makes its folder, which the storage worker reads."""
    try:
        open_log(settings).close()
    except StorageError as error:
        raise StorageError(f"log.directory: {error}; or choose another folder with log.directory (--log)") from error


def check_storage(settings: Settings) -> None:
    """Open folder or bucket as the storage worker will."""
    open_writer(settings).close()


def check_stream(settings: Settings) -> None:
    """Check address, certificates and token of the stream."""
    from generals_env.recorders.stream.server.security import check_address, load_credentials

    streaming = settings.streaming
    credentials = load_credentials(streaming.certificate, streaming.key, streaming.client_ca)
    check_address(streaming.address, credentials is not None)
    token_of(settings)
    check_free("streaming.address", streaming.address)


def check_free(key: str, address: str) -> None:
    """Check that the system lets a process listen at an address.

    Raises:
        ConfigError: If it is in use, or no address of this machine.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
            probe.listen()
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{key}: expected an address that is free, got {address!r} ({error}): use another port, or 0"
        ) from error
