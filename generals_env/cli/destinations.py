"""Opens what commands write: a dataset, a log, a server, or a dataset and a log at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import typer

from generals_env.cli.dataset import console
from generals_env.errors import ConfigError
from generals_env.recorders import DatasetWriter, ExperienceLog, MultiSink
from generals_env.recorders.experience.sink import Sink
from generals_env.recorders.sinks.multi import is_server, open_sink

__all__ = ["check_destinations", "open_destinations"]


class Destination(NamedTuple):
    """An open sink.

    Attributes:
        place: Folder, URL or address.
        sink: The sink.
        written: Returns how many experiences it has stored.
    """

    place: str
    sink: Sink
    written: Callable[[], int]


def check_destinations(out: str | None, log: Path | None) -> list[str]:
    """Return the places to write to.

    Raises:
        ConfigError: If there is none.
    """
    places = [place for place in (out, None if log is None else str(log)) if place]
    if not places:
        raise ConfigError(
            "out: expected a folder, a URL, grpc://host:port, redis://..., or --log FOLDER, got none of them: pass one"
        )
    return places


@contextmanager
def open_destinations(out: str | None, log: Path | None, form: str, naming: str) -> Iterator[Sink]:
    """Open a dataset or server, or a log, or both; if the command is interrupted, print what was written.

    Raises:
        ConfigError: If there is none, or ``form`` or ``naming`` is invalid.
        StorageError: If one cannot be written.
    """
    check_destinations(out, log)
    with ExitStack() as stack:
        opened: list[Destination] = []
        if out:
            opened.append(open_place(out, form, naming))
            stack.callback(opened[-1].sink.close)
        if log is not None:
            opened.append(open_log(log))
            stack.callback(opened[-1].sink.close)
        sinks = [destination.sink for destination in opened]
        try:
            if len(sinks) == 1:
                yield sinks[0]
                sinks[0].flush()
            else:
                with MultiSink(sinks) as both:
                    yield both
                    both.flush()
        except KeyboardInterrupt:
            stack.close()
            for place, _, written in opened:
                console.print(f"interrupted: {written():,} experiences in {place}", markup=False, highlight=False)
            raise


def open_place(out: str, form: str, naming: str) -> Destination:
    """Open a folder, a URL or the address of a server."""
    if is_server(out):
        try:
            sink = open_sink(out)
        except ImportError as error:
            raise typer.BadParameter(str(error)) from error
        return Destination(out, sink, lambda: sink.accepted)  # type: ignore[attr-defined]
    writer = DatasetWriter(out, form, naming)
    return Destination(out, writer, lambda: writer.stats().written)


def open_log(folder: Path) -> Destination:
    """Open a log to append to."""
    log = ExperienceLog(folder, "normal")
    before = log.last
    return Destination(str(folder), log, lambda: ExperienceLog(folder, mode="r").last - before)
