"""Compares settings with each other and with what the package offers: the checks that no model of one section can do."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterator

from generals_env.agents.shipped import is_shipped
from generals_env.errors import ConfigError
from generals_env.operations.settings.faults import Fault
from generals_env.operations.settings.models import Games, Settings
from generals_env.operations.settings.options import game_config, trainer_config
from generals_env.opponents import POLICY_NAMES, is_builtin

__all__ = ["check_settings", "is_loopback", "split_address"]

MAX_PORT = 65535
URL = re.compile(r"https?://[^\s/]+(/\S*)?")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_settings(settings: Settings) -> list[Fault]:
    """Return the faults between the keys of valid sections; their origin is empty."""
    checks: tuple[Callable[[Settings], Iterator[tuple[str, str]]], ...] = (
        check_games,
        check_training,
        check_streaming,
        check_addresses,
        check_storage,
        check_compression,
    )
    return [Fault("", key, text) for check in checks for key, text in check(settings)]


def check_games(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield faults of the options of games and of the policies."""
    games = settings.games
    try:
        game_config(games, settings.rewards)
    except ConfigError as error:
        yield split_message("games", error)
    if len(games.policies) not in (1, games.players):
        yield "games.policies", f"expected one policy or {games.players}, one for each player, got {len(games.policies)}"
    yield from check_policies(games)


def check_policies(games: Games) -> Iterator[tuple[str, str]]:
    """Yield policies that are neither built in, nor an agent of the package, nor a file."""
    for policy in dict.fromkeys(games.policies):
        if not is_policy(policy):
            yield (
                "games.policies",
                f"expected one of {POLICY_NAMES}, trained or the path of a checkpoint, got {policy!r:.200}: "
                "correct the name, or write the checkpoint with generals-env train",
            )


def is_policy(policy: str) -> bool:
    """Return whether a policy is built in, an agent of the package, or a file."""
    try:
        if is_builtin(policy) or is_shipped(policy):
            return True
    except ConfigError:
        pass
    # ``Path.is_file`` raises an error for names that are too long, and for folders that may not be read.
    return os.path.isfile(policy)  # noqa: PTH113


def check_training(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield a fault of the hyperparameters."""
    try:
        trainer_config(settings.training)
    except ConfigError as error:
        yield split_message("training", error)


def check_streaming(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield faults of the certificates and the token."""
    streaming = settings.streaming
    if (streaming.certificate is None) != (streaming.key is None):
        given, other = ("certificate", "key") if streaming.key is None else ("key", "certificate")
        yield f"streaming.{given}", f"expected {other}, too, got only {given}: set both, or neither"
    if streaming.client_ca is not None and streaming.certificate is None:
        yield "streaming.client_ca", "expected certificate and key, too, got only client_ca: set all three, or none"
    if streaming.token_variable is not None and not VARIABLE.fullmatch(streaming.token_variable):
        # The value is not shown: it may be the token itself.
        yield "streaming.token_variable", "expected the name of an environment variable, such as STREAM_TOKEN, got another text"


def check_addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield addresses of another form than host:port, and those of other machines where only this one may connect."""
    secure = settings.streaming.certificate is not None
    for key, address, example, open_to_all, remedy in (
        ("streaming.address", settings.streaming.address, 50051, secure, "set certificate and key for TLS"),
        ("metrics.address", settings.metrics.address, 9090, True, ""),
        ("debug.address", settings.debug.address, 6060, False, "it shows the memory of the process"),
    ):
        parts = split_address(address)
        if parts is None:
            yield key, f"expected host:port, got {address!r:.200}: write one like 127.0.0.1:{example}"
        elif not open_to_all and not is_loopback(parts[0]):
            yield key, f"expected localhost, 127.0.0.1 or [::1] as host, got {address!r:.200}: {remedy}"
    in_use: dict[tuple[str, int], str] = {}
    for section in ("streaming", "metrics", "debug"):
        part = getattr(settings, section)
        parts = split_address(part.address)
        if part.enabled and parts is not None and parts[1]:
            if parts in in_use:
                yield f"{section}.address", f"expected another port than {in_use[parts]}.address, got {part.address!r} for both"
            in_use.setdefault(parts, section)


def check_storage(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield faults of the storage."""
    storage = settings.storage
    if storage.when_full == "delete_oldest" and storage.enabled and storage.type == "s3":
        yield "storage.when_full", "expected raise or drop for type s3, got delete_oldest: a bucket has no free space to watch"
    endpoint = storage.s3.endpoint
    if endpoint is not None and "@" in endpoint:  # the text is not shown, as it holds a password
        yield (
            "storage.s3.endpoint",
            "expected a URL without user and password: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
        )
    elif endpoint is not None and not URL.fullmatch(endpoint):
        yield "storage.s3.endpoint", f"expected a URL, got {endpoint!r:.200}: write one like http://127.0.0.1:9000"


def check_compression(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield faults of the levels and loads of adaptive compression."""
    compression = settings.compression
    if compression.max_level < compression.level:
        yield "compression.max_level", f"expected at least level, {compression.level}, got {compression.max_level}"
    if compression.low_cpu >= compression.high_cpu:
        yield "compression.low_cpu", f"expected less than high_cpu, {compression.high_cpu}, got {compression.low_cpu}"


def split_message(section: str, error: ConfigError) -> tuple[str, str]:
    """Return key and text of an error that begins with the name of an option."""
    name, _, text = str(error).partition(": ")
    return f"{section}.{name}", text


def split_address(address: str) -> tuple[str, int] | None:
    """Return host and port, or None if an address has not the form ``host:port``."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > MAX_PORT:
        return None
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        return None
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
