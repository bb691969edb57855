"""Implements ``generals-env run``: plays, records, stores and streams for as long as wanted, in supervised processes."""

from __future__ import annotations

import logging
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.live import Live

from generals_env.cli.dataset import console, errors

__all__ = ["run"]

logger = logging.getLogger("generals_env.run")

INTERVAL = 10.0  # seconds between lines where there is no terminal

REFRESH = 0.5  # seconds between updates of the table


def run(
    config: Annotated[Path | None, typer.Option(help="The settings, experience.yaml; reloaded when it changes.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="key=value, as games.parallel=128; before all files.")] = None,
    policies: Annotated[str | None, typer.Option(help="games.policies, with commas.")] = None,
    parallel: Annotated[int | None, typer.Option(help="games.parallel.")] = None,
    games: Annotated[int | None, typer.Option(help="collection.max_games: stop after so many.")] = None,
    seconds: Annotated[float | None, typer.Option(help="collection.max_seconds: stop after this time.")] = None,
    log: Annotated[str | None, typer.Option(help="log.directory.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the files, or s3://bucket/prefix.")] = None,
    form: Annotated[str | None, typer.Option("--format", help="Format of the files.")] = None,
    address: Annotated[str | None, typer.Option(help="streaming.address.")] = None,
    metrics: Annotated[str | None, typer.Option(help="metrics.address.")] = None,
    debug: Annotated[bool | None, typer.Option(help="debug.enabled.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Log lines in JSON.")] = False,
) -> None:
    """Play games, record, store and stream them, and export metrics, until stopped.

    SIGTERM or Ctrl-C ends the games, writes all that was recorded and serves it to connected consumers; a second one ends at
    once.
    """
    options: dict[str, Any] = {
        "games.policies": None if policies is None else policies.split(","),
        "games.parallel": parallel,
        "collection.max_games": games,
        "collection.max_seconds": seconds,
        "log.directory": log,
        "streaming.address": address,
        "metrics.address": metrics,
        "debug.enabled": debug,
        "logging.format": "json" if json else None,
        **file_options(out, form),
    }
    given = {key: value for key, value in options.items() if value is not None} | parse_overrides(overrides or [])
    path = config if config is not None else default_file()

    def load() -> Settings:
        return load_settings(path, os.environ, given)

    settings = load()
    live = sys.stdout.isatty() and settings.logging.format == "text"
    configure_logs(settings.logging.level, settings.logging.format, console.print_line if live else None)
    with console.status("checking addresses, folders and policies") if live else nullcontext():
        check_run(settings)
    supervisor = Supervisor(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: supervisor.ask_to_end())
    with watching(path, load, supervisor), display(supervisor, live) as show:
        status = supervisor.run(show)
    console.print(summary_table(supervisor))
    if status:
        raise typer.Exit(status)
