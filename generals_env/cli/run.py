"""Implements ``generals-env run``: plays, records, stores and streams for as long as wanted, in supervised processes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live

from generals_env.cli.config import ConfigFile, SetValues, print_faults, read_settings
from generals_env.cli.dataset import console
from generals_env.errors import ConfigError

if TYPE_CHECKING:
    from generals_env.operations.run.supervisor import Supervisor
    from generals_env.operations.settings.models import Settings

__all__ = ["run"]

logger = logging.getLogger("generals_env.operations.run")

LINE_SECONDS = 10.0  # between log lines where there is no terminal

#: What writing to standard output raises when its reader is gone; rich ends the program after a broken pipe.
OUTPUT_CLOSED = (OSError, SystemExit)

REFRESH_SECONDS = 0.5  # between updates of the table


def run(
    config: ConfigFile = None,
    values: SetValues = None,
    policies: Annotated[
        str | None, typer.Option(help="A built-in policy or a checkpoint: one for all, or one a player with commas.")
    ] = None,
    parallel: Annotated[int | None, typer.Option(help="Number of games at once.")] = None,
    games: Annotated[int | None, typer.Option(help="Stop after so many ended games.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after playing for this many seconds.")] = None,
    log: Annotated[str | None, typer.Option(help="Folder of the log.")] = None,
    out: Annotated[str | None, typer.Option(help="Folder of the files, or s3://bucket/prefix.")] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="Format of the files: npz, parquet, tfrecord, tfrecord.gz or games.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="host:port of the stream.")] = None,
    metrics: Annotated[str | None, typer.Option(help="host:port of metrics and health.")] = None,
    debug: Annotated[bool | None, typer.Option("--debug/--no-debug", help="Serve the debug endpoint.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Write log lines in JSON.")] = False,
) -> None:
    """Play games, record, store and stream them, and export metrics, until stopped.

    SIGTERM or Ctrl-C ends the games, writes all that was recorded, and sends it to connected consumers; when it comes again,
    the run ends at once.
    """
    try:
        from generals_env.operations.run.preflight import check_games, check_run
        from generals_env.operations.run.structured_logs import configure_logs
        from generals_env.operations.run.supervisor import Supervisor
    except ImportError as error:
        extras = "metrics,settings,storage,stream"
        raise typer.BadParameter(f'run: expected {error.name}, got none: pip install "generals_env[{extras}]"') from error
    options: dict[str, tuple[str, Any]] = {
        "games.policies": ("--policies", None if policies is None else tuple(policies.split(","))),
        "games.parallel": ("--parallel", parallel),
        "collection.max_games": ("--games", games),
        "collection.max_seconds": ("--seconds", seconds),
        "log.directory": ("--log", log),
        **files_of(out, form),
        "streaming.address": ("--address", address),
        "metrics.address": ("--metrics", metrics),
        "debug.enabled": ("--debug", debug),
        "logging.format": ("--json", "json" if json else None),
    }
    given = {key: value for key, (_, value) in options.items() if value is not None}
    names = {key: name for key, (name, _) in options.items()}

    def load() -> Settings:
        return read_settings(config, values, given, names).settings

    try:
        settings = load()
        is_live = sys.stdout is not None and sys.stdout.isatty() and settings.logging.format == "text"
        configure_logs(settings.logging.level, settings.logging.format, print_above if is_live else None)
        with console.status("checking addresses, folders and policies") if is_live else nullcontext():
            check_run(settings)
        supervisor = Supervisor(settings)
    except ConfigError as error:
        print_faults(error)
        raise typer.Exit(2) from None
    for number in ending_signals():
        signal.signal(number, lambda number, _: supervisor.ask_to_end(once=number not in (signal.SIGINT, signal.SIGTERM)))

    def reload() -> Settings:
        settings = load()
        check_games(settings)  # what the workers cannot play stays out of them
        return settings

    with reloading(config, reload, supervisor), shown(supervisor, is_live) as show:
        status = supervisor.run(show)
    try:
        print_summary(supervisor)
    except OUTPUT_CLOSED:
        leave_closed_output()
    if status:
        raise typer.Exit(status)


def ending_signals() -> list[signal.Signals]:
    """Return the signals that drain: also that of a closed terminal, unless ``nohup`` has it ignored."""
    found = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # Windows has none
        found.append(signal.SIGHUP)
    return found


def leave_closed_output() -> None:
    """Write to nothing from now on, as the terminal or the reader of standard output is gone; Python flushes it at its end."""
    with suppress(OSError, ValueError, AttributeError):  # it may be closed, or there is none
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def files_of(out: str | None, form: str | None) -> dict[str, tuple[str, Any]]:
    """Return the settings that ``--out`` and ``--format`` mean."""
    if out is None or not out.startswith("s3://"):
        kind = "file" if out is not None else None
        found = {"storage.type": ("--out", kind), "storage.file.directory": ("--out", out)}
    else:
        bucket, _, prefix = out.removeprefix("s3://").partition("/")
        found = {
            "storage.type": ("--out", "s3"),
            "storage.s3.bucket": ("--out", bucket),
            "storage.s3.prefix": ("--out", prefix),
        }
    return {**found, "storage.file.format": ("--format", form), "storage.s3.format": ("--format", form)}


@contextmanager
def reloading(config: Path | None, load: Callable[[], Settings], supervisor: Supervisor) -> Iterator[None]:
    """Reload the settings while the block runs, if they have a file."""
    from generals_env.operations.settings.load import settings_path
    from generals_env.operations.settings.watcher import SettingsWatcher

    path = settings_path(config, os.environ)
    if path is None:
        yield
        return
    watcher = SettingsWatcher(
        path,
        load,
        lambda _, new, keys: supervisor.change(new, keys),
        lambda error: logger.error("the settings stay as they are: %s", error),
        lambda keys: logger.warning("changed settings that need a restart are kept back: %s", ", ".join(keys)),
        settings=supervisor.settings,
        on_failure=lambda error: logger.error("reloading the settings: %s: %s", type(error).__name__, error),
    )
    watcher.start()
    try:
        yield
    finally:
        watcher.stop()


@contextmanager
def shown(supervisor: Supervisor, is_live: bool) -> Iterator[Callable[[], None]]:
    """Show the run as a table on a terminal, or as log lines elsewhere; the block calls what this returns all the time."""
    from generals_env.operations.run.live_table import Rates, run_line, run_table

    rates, due = Rates(), 0.0
    live = Live(console=console, auto_refresh=False, transient=True) if is_live else None

    def show() -> None:
        nonlocal due, live
        if time.monotonic() < due:
            return
        due = time.monotonic() + (REFRESH_SECONDS if live is not None else LINE_SECONDS)
        if live is not None:
            try:
                live.update(run_table(supervisor, rates), refresh=True)
            except OUTPUT_CLOSED:  # the terminal is gone: the run goes on, or drains after its signal
                leave_closed_output()
                live = None
        else:
            text, fields = run_line(supervisor, rates)
            logger.info("%s", text, extra=fields)

    if live is None:
        yield show
        return
    started = live
    started.start()
    try:
        yield show
    finally:
        try:
            started.stop()
        except OUTPUT_CLOSED:
            leave_closed_output()


def print_summary(supervisor: Supervisor) -> None:
    """Print where the experiences are."""
    from generals_env.operations.run.live_table import summary_table

    if supervisor.settings.logging.format == "json":
        logger.info("the run has ended", extra={"figures": supervisor.summary()})
    else:
        console.print(summary_table(supervisor))


def print_above(line: str) -> None:
    """Print a log line above the table."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
