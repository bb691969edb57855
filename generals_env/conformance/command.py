"""Implements the command ``python -m generals_env.conformance``."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from generals_env.conformance.checking import plan
from generals_env.conformance.engines import load_engine
from generals_env.conformance.report import DIFFERS, EQUAL, SKIPPED, UNUSABLE, Verdict
from generals_env.errors import GeneralsError
from generals_env.version import __version__

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False)
console = Console()
errors = Console(stderr=True)

#: Status of the process: a game differs, and nothing or not everything could be judged.
STATUS_DIFFERS, STATUS_UNUSABLE = 1, 2


@app.command()
def conformance(
    paths: Annotated[list[Path], typer.Argument(help="Replays, traces, and folders of them.")],
    engine: Annotated[str | None, typer.Option(help="Judge this engine, module:callable, instead of the package's.")] = None,
    batches: Annotated[bool, typer.Option(help="Play games of the competition also many at once.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name each game, also those that agree.")] = False,
) -> None:
    """Play recorded games whose every turn is known, and name the first turn and tile that differ.

    The status is 0 if all games are equal, 1 if any differs, and 2 if a file cannot be used or there is nothing to judge.
    """
    factory = None if engine is None else load_engine(engine)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        tasks = plan(paths, factory, batches, lambda files: bar.track(files, description="reading"))
        found = [(task.name, list(task.run())) for task in bar.track(tasks, description="playing")]
    verdicts = [verdict for _, some in found for verdict in some]
    if as_json:
        counts = Counter(verdict.status for verdict in verdicts)
        games = [verdict.as_dict() for verdict in verdicts]
        totals = {status: counts[status] for status in (EQUAL, DIFFERS, SKIPPED, UNUSABLE)}
        typer.echo(json.dumps({"version": __version__, **totals, "games": games}, indent=1))
    else:
        for line, style in lines_of(found, verbose):
            console.print(printable(line), style=style, markup=False, highlight=False, soft_wrap=True)
        console.print(table_of(verdicts, engine))
    if not found:
        names = ", ".join(map(str, paths))
        told = f"paths: expected replays (.gior, .json, .json.gz) or traces, got none in {names:.200}"
        errors.print(printable(told), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(status_of(verdicts))


def status_of(verdicts: Iterable[Verdict]) -> int:
    """Return the status of the process."""
    found = {verdict.status for verdict in verdicts}
    if DIFFERS in found:
        return STATUS_DIFFERS
    return STATUS_UNUSABLE if UNUSABLE in found or EQUAL not in found else 0


def lines_of(found: Iterable[tuple[str, list[Verdict]]], verbose: bool) -> Iterator[tuple[str, str | None]]:
    """Yield a line for each file whose games are equal and for each other game, with its style."""
    for name, verdicts in found:
        equal = [verdict for verdict in verdicts if verdict.status == EQUAL]
        for verdict in verdicts:
            if verdict.status != EQUAL or verbose:
                yield line_of(verdict), {DIFFERS: "red", UNUSABLE: "red", SKIPPED: "yellow"}.get(verdict.status)
        if equal and not verbose:
            turns = sum(verdict.turns for verdict in equal)
            games = f"{len(equal):,} games" if len(equal) != 1 else f"game {equal[0].game}" if equal[0].game else "1 game"
            missing = sorted({part for verdict in equal for part in verdict.not_judged})
            yield f"{name}: {games} equal ({turns:,} turns){unjudged(missing)}", "green"


def line_of(verdict: Verdict) -> str:
    """Return a verdict as one line."""
    place = f"{verdict.file}: {verdict.game}" if verdict.game else verdict.file
    if verdict.status == EQUAL:
        return f"{place}: equal ({verdict.turns:,} turns){unjudged(verdict.not_judged)}"
    told = "; ".join(filter(None, (str(verdict.difference or ""), verdict.reason)))
    return f"{place}: {verdict.status}: {told}{unjudged(verdict.not_judged)}"


def unjudged(parts: Iterable[str]) -> str:
    """Return text about parts that were not judged; empty if there are none."""
    listed = ", ".join(parts)
    return f"; not judged: {listed}" if listed else ""


def table_of(verdicts: Iterable[Verdict], engine: str | None) -> Table:
    """Return the counts by form."""
    table = Table(title=f"{engine or f'generals_env {__version__}'} by recorded games")
    table.add_column("form")
    for name in ("games", EQUAL, "differ", SKIPPED, UNUSABLE, "turns"):
        table.add_column(name, justify="right")
    by_form: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_form[verdict.form or "unknown"].append(verdict)
    rows = [*by_form.items()]
    if len(rows) > 1:
        rows.append(("all", [verdict for _, some in by_form.items() for verdict in some]))
    for form, some in rows:
        counts = Counter(verdict.status for verdict in some)
        numbers = [len(some), *(counts[status] for status in (EQUAL, DIFFERS, SKIPPED, UNUSABLE))]
        table.add_row(form, *(f"{number:,}" for number in (*numbers, sum(verdict.turns for verdict in some))))
    return table


def printable(text: str) -> str:
    """Return text of files without control characters, which terminals would obey."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def main() -> None:
    """Run the command; print errors of the package in one line."""
    try:
        app(prog_name="python -m generals_env.conformance")
    except GeneralsError as error:
        errors.print(f"error: {' '.join(str(error).splitlines())}", style="red", markup=False, soft_wrap=True)
        raise SystemExit(STATUS_UNUSABLE) from None
