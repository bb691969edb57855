"""Implements ``generals-env dataset``: shows, verifies and converts recorded experience."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from generals_env.recorders import Dataset, DatasetWriter, ExperienceBatch, ExperienceLog, open_dataset
from generals_env.recorders.datasets.verify import DatasetReport, repair_dataset, verify_dataset
from generals_env.recorders.experience.collate import GAMES

__all__ = ["FormatName", "Naming", "app", "console", "errors", "progress_bar"]

app = typer.Typer(help="Show, verify and convert recorded experience.", no_args_is_help=True)
console = Console()
errors = Console(stderr=True)

BAR = 40  # characters of the longest bar

BINS = 12  # of a histogram of rewards

DIRECTIONS = ("up", "down", "left", "right")

FormatName = Annotated[str, typer.Option("--format", help="npz, parquet, tfrecord, tfrecord.gz or games.")]
Naming = Annotated[str, typer.Option(help="packed: many games a file; games: files for each game.")]
Source = Annotated[str, typer.Argument(help="Folder, file or URL (s3://...) of recorded experience.")]


def progress_bar() -> Progress:
    """Return a progress bar with counts and time."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


@app.command()
def info(source: Source) -> None:
    """Show files and counts, from file names and indexes, and the metadata of the first file."""
    dataset = open_dataset(source)
    table = Table("format", "files", "experiences", "bytes", "bytes an experience", "hours", title=str(source))
    for form in sorted({file.format for file in dataset.files}):
        files = [file for file in dataset.files if file.format == form]
        counts = [file.experiences for file in files]
        size = sum(file.size for file in files)
        count = sum(number for number in counts if number is not None)
        known = None not in counts
        # A log and a stream have no folders of hours.
        places = [
            file.place.rpartition("/")[0].removeprefix(str(source)) if form not in ("log", "redis") else "" for file in files
        ]
        hours = sorted({place.strip("/") for place in places})
        table.add_row(
            form,
            f"{len(files):,}",
            f"{count:,}" if known else f"≥ {count:,}",
            f"{size:,}",
            f"{size / count:.1f}" if known and count else "",
            f"{hours[0]} to {hours[-1]}" if len(hours) > 1 else hours[0],
        )
    console.print(table)
    batch = next(iter(dataset), None)
    if batch is not None:
        details = Table("of the first file", "", show_header=True)
        details.add_row("board", f"{batch.shape[0]}x{batch.shape[1]}, {batch.players} players")
        details.add_row(
            "observations", "arrays" if batch.dense is not None else f"{batch.recipe.layout}, {batch.recipe.frames} frame(s)"
        )
        for name, value in batch.metadata.items():
            details.add_row(str(name), f"facts about {len(value):,} games" if name == GAMES else str(value))
        console.print(details)


@app.command()
def head(source: Source, count: Annotated[int, typer.Option("--count", "-n", min=1)] = 10) -> None:
    """Show the first experiences."""
    table = Table("game", "player", "turn", "sequence", "action", "reward", "end")
    left = count
    for batch in open_dataset(source):
        for row in range(min(left, len(batch))):
            end = "terminated" if batch.terminated[row] else "truncated" if batch.truncated[row] else ""
            table.add_row(
                batch.game_ids[batch.game[row]],
                str(batch.player_id[row]),
                str(batch.turn[row]),
                str(batch.sequence[row]),
                described(int(batch.action[row]), batch.shape) + (" (asked for an illegal one)" if batch.illegal[row] else ""),
                f"{batch.reward[row]:g}",
                end,
            )
        left -= len(batch)
        if left <= 0:
            break
    console.print(table)


def described(action: int, shape: tuple[int, int]) -> str:
    """Return an action as text."""
    tiles = shape[0] * shape[1]
    if action == 8 * tiles:
        return "pass"
    if action > 8 * tiles:
        row, column = divmod(action - 8 * tiles - 1, shape[1])
        return f"build {row},{column}"
    half, rest = divmod(action, 4 * tiles)
    tile, direction = divmod(rest, 4)
    return f"{tile // shape[1]},{tile % shape[1]} {DIRECTIONS[direction]}{' half' if half else ''}"


@app.command()
def stats(source: Source) -> None:
    """Read all experiences and show how rewards and actions are distributed."""
    dataset = open_dataset(source)
    actions: Counter[str] = Counter()
    players: Counter[int] = Counter()
    totals: Counter[str] = Counter()
    games: set[str] = set()
    rewards = []
    for batch in tracked(dataset, "reading"):
        tiles = batch.shape[0] * batch.shape[1]
        half, rest = np.divmod(batch.action, 4 * tiles)
        actions["pass"] += int((batch.action == 8 * tiles).sum())
        if batch.recipe.builds:
            actions["build"] += int((batch.action > 8 * tiles).sum())
        for plane, word in ((0, ""), (1, " half")):
            counts = np.bincount(rest[half == plane] % 4, minlength=4)
            actions.update({direction + word: int(times) for direction, times in zip(DIRECTIONS, counts, strict=True)})
        players.update(dict(zip(*(column.tolist() for column in np.unique(batch.player_id, return_counts=True)), strict=True)))
        totals["experiences"] += len(batch)
        totals["illegal"] += int(batch.illegal.sum())
        totals["terminated"] += int(batch.terminated.sum())
        totals["truncated"] += int(batch.truncated.sum())
        games.update(batch.game_ids)
        rewards.append(batch.reward)
    table = Table(title=str(source), show_header=False)
    table.add_row("games", f"{len(games):,}")
    for name, number in totals.items():
        table.add_row(name, f"{number:,}")
    for player, number in sorted(players.items()):
        table.add_row(f"of player {player}", f"{number:,}")
    console.print(table)
    if totals["experiences"]:
        everything = np.concatenate(rewards)
        console.print(histogram("reward", *binned(everything)))
        console.print(histogram("action", list(actions), list(actions.values())))


def binned(rewards: npt.NDArray[np.float32]) -> tuple[list[str], list[int]]:
    """Return labels and counts of rewards: a bin for each value if there are few, else for ranges."""
    values, counts = np.unique(rewards, return_counts=True)
    if len(values) <= BINS:
        return [f"{value:g}" for value in values], counts.tolist()
    counts, edges = np.histogram(rewards, BINS)
    return [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)], counts.tolist()


def histogram(title: str, labels: list[str], counts: list[int]) -> Table:
    """Return a table with a bar for each count."""
    table = Table(title, "count", "share", "", title=f"{title}s")
    maximum, total = max(counts), sum(counts)
    for label, count in zip(labels, counts, strict=True):
        table.add_row(label, f"{count:,}", f"{count / total:.2%}", "█" * max(round(BAR * count / maximum), count > 0))
    return table


def tracked(dataset: Dataset, description: str) -> Iterable[ExperienceBatch]:
    """Yield the batches of a dataset with a progress bar of its files."""
    with progress_bar() as bar:
        yield from bar.track(dataset, description=description, total=len(dataset.files))


@app.command()
def convert(
    source: Source,
    out: Annotated[str, typer.Argument(help="Folder or URL to write to; for the format log a folder.")],
    form: Annotated[
        str, typer.Option("--format", help="npz, parquet, tfrecord, tfrecord.gz, games, or log for a log.")
    ] = "parquet",
    naming: Naming = "packed",
    skip_damaged: Annotated[bool, typer.Option(help="Skip damaged files.")] = False,
) -> None:
    """Write all experiences in another format, to another folder, or from or to a log.

    A log numbers experiences itself, in the order of the source.
    """
    if same_folder(source, out):
        raise typer.BadParameter("expected another folder than SOURCE", param_hint="OUT")
    dataset = open_dataset(source)
    if skip_damaged:
        dataset = dataset.skip_damaged()
    batches = tracked(dataset, "converting")
    written, files, size = write_log(batches, out) if form == "log" else write_files(batches, out, form, naming)
    table = Table(show_header=False, title=f"{source} to {out}")
    table.add_row("experiences", f"{written:,}")
    table.add_row("files", f"{files:,}")
    table.add_row("bytes", f"{size:,} ({size / max(written, 1):.1f} an experience)")
    table.add_row("bytes before", f"{dataset.nbytes:,}")
    console.print(table)


def write_files(batches: Iterable[ExperienceBatch], out: str, form: str, naming: str) -> tuple[int, int, int]:
    """Write batches to files; return the numbers of experiences, files and bytes written."""
    with DatasetWriter(out, form, naming) as writer:
        for batch in batches:
            writer.write(batch)
        writer.flush()
        done = writer.stats()
    return done.written, done.files, done.bytes


def write_log(batches: Iterable[ExperienceBatch], out: str) -> tuple[int, int, int]:
    """Append batches to a log; return the number of experiences written, and the files and bytes of the log."""
    with ExperienceLog(out, "normal") as log:
        before = log.last
        for batch in batches:
            log.write(batch)
        log.flush()
        written = log.last - before
    segments = list(Path(out).glob("segment_*.db"))
    return written, len(segments), sum(segment.stat().st_size for segment in segments)


def same_folder(one: str, other: str) -> bool:
    """Return whether two paths or URLs name the same folder."""
    if "://" in one or "://" in other:
        return one.rstrip("/") == other.rstrip("/")
    return Path(one).resolve() == Path(other).resolve()


@app.command()
def verify(
    source: Source,
    repair: Annotated[bool, typer.Option(help="Move damaged files aside, rebuild indexes, remove leftovers.")] = False,
) -> None:
    """Read all files and report damaged and missing data; the exit status is 1 if there is any."""
    with progress_bar() as bar:

        def track(files: Any) -> Any:
            return bar.track(files, description="reading")

        report = repair_dataset(source, track) if repair else verify_dataset(source, track)
    print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def print_report(report: DatasetReport) -> None:
    """Print the report of a verification."""
    table = Table(show_header=False)
    table.add_row("files", f"{report.files:,}")
    table.add_row("experiences", f"{report.experiences:,}")
    table.add_row("bytes", f"{report.nbytes:,}")
    table.add_row("damages", str(len(report.damages)))
    table.add_row("not in an index", str(len(report.unindexed)))
    table.add_row("left over from killed processes", str(len(report.leftovers)))
    for what, counts in (("missing sequence numbers", report.gaps), ("repeated sequence numbers", report.repeats)):
        for run, count in counts.items():
            table.add_row(f"{what} of {run or 'an unknown run'}", f"{count:,}")
    console.print(table)
    for leftover in report.leftovers:
        console.print(f"left over: {leftover}", markup=False, highlight=False, soft_wrap=True)
    for damage in report.damages:
        console.print(f"{damage.place}: {damage.what}", style="red", markup=False)
