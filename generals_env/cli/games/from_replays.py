"""Implements ``generals-env dataset from-replays``: replays of people to a dataset."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from generals_env.cli.dataset import FormatName, Naming, console, progress_bar
from generals_env.cli.destinations import check_destinations, open_destinations
from generals_env.errors import ReplayError
from generals_env.recorders.people.human_replays import RecordedReplays, reason_of, record_sources
from generals_env.recorders.people.replay_sources import ReplaySource, find_files, replay_sources

__all__ = ["from_replays"]

SHOWN = 3  # replays that are named for each reason


def from_replays(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Files or folders: replays (.gior, .gioreplay, .json), packed sets (.json, .jsonl), tables (.parquet), "
            "archives (.zip, .tar.gz)."
        ),
    ],
    out: Annotated[str | None, typer.Option(help="Folder or URL (s3://...) of the dataset, or grpc://host:port.")] = None,
    log: Annotated[Path | None, typer.Option(help="Folder of a log to record into, besides or instead of --out.")] = None,
    form: FormatName = "npz",
    naming: Naming = "packed",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON, with each skipped replay.")] = False,
) -> None:
    """Play replays of people again and record every player's experience, fogged as this player saw it, with ranks and results.

    Replays that are not supported are counted by reason. The exit status is 1 if no replay was recorded.
    """
    try:
        files = find_files(paths)
    except ReplayError as error:
        raise typer.BadParameter(str(error), param_hint="PATHS") from error
    places = ", ".join(check_destinations(out, log))
    begun = time.perf_counter()
    with open_destinations(out, log, form, naming) as sink, progress_bar() as bar:
        task = bar.add_task("recording", total=len(files))

        def show(result: RecordedReplays) -> None:
            bar.update(task, description=f"recording {result.games:,} games {result.experiences:,} experiences")

        def sources() -> Iterator[ReplaySource]:
            for file in files:
                yield from replay_sources([file])
                bar.advance(task)

        result = record_sources(sources(), sink, on_error="skip", on_game=show)
    seconds = time.perf_counter() - begun
    if as_json:
        counts = {"games": result.games, "experiences": result.experiences, "seconds": round(seconds, 3)}
        typer.echo(json.dumps(counts | {"reasons": result.reasons(), "skipped": result.skipped}))
    else:
        print_result(result, places, seconds)
    if not result.games:
        raise typer.Exit(1)


def print_result(result: RecordedReplays, places: str, seconds: float) -> None:
    """Print what was recorded, and what was not and why."""
    table = Table(show_header=False)
    table.add_row("games", f"{result.games:,}")
    table.add_row("experiences", f"{result.experiences:,}")
    table.add_row("experiences per second", f"{result.experiences / max(seconds, 1e-9):,.0f} (read, played, written)")
    table.add_row("replays skipped", f"{len(result.skipped):,}")
    table.add_row("recorded in", places)
    console.print(table)
    if result.skipped:
        reasons = Table("replays", "why they were skipped", "for example")
        for reason, count in result.reasons().items():
            some = islice((name for name, why in result.skipped.items() if reason_of(why) == reason), SHOWN)
            reasons.add_row(f"{count:,}", escape(reason), escape(", ".join(some)))
        console.print(reasons)
