"""Implements ``generals-env submit``: sends recorded experience to a server."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.table import Table

from generals_env.cli.dataset import Source, console, progress_bar
from generals_env.recorders import open_dataset

__all__ = ["submit"]


def submit(
    source: Source,
    address: Annotated[str, typer.Argument(help="host:port, grpc://host:port, or grpcs://host:port for TLS.")],
    skip_damaged: Annotated[bool, typer.Option(help="Skip damaged files.")] = False,
) -> None:
    """Send all experiences of a dataset or a log to a server; what it has already is not stored twice.

    The token of the server is read from the environment variable GENERALS_ENV_TOKEN. The exit status is 1 if the server
    rejects experiences.
    """
    try:
        from generals_env.recorders.stream.client.submission import is_repeat
        from generals_env.recorders.stream.client.submitting_sink import open_server
    except ImportError as error:
        raise typer.BadParameter(f'{error.name} is missing: pip install "generals_env[stream]"') from error
    dataset = open_dataset(source)
    if skip_damaged:
        dataset = dataset.skip_damaged()
    accepted = repeated = 0
    reasons: Counter[str] = Counter()
    with open_server(address) as sink, progress_bar() as bar:
        task = bar.add_task("submitting", total=dataset.experiences)
        for batch in dataset:
            for answer in sink.submit(batch):
                accepted += answer.accepted
                repeated += sum(map(is_repeat, answer.errors))
                reasons.update(error.partition(": ")[2] for error in answer.errors if not is_repeat(error))
                bar.update(task, advance=answer.accepted + answer.rejected)
    table = Table(show_header=False, title=f"{source} to {address}")
    table.add_row("accepted", f"{accepted:,}")
    table.add_row("already there", f"{repeated:,}")
    table.add_row("rejected", f"{reasons.total():,}")
    console.print(table)
    for reason, count in reasons.most_common():
        console.print(f"rejected {count:,}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    if reasons:
        raise typer.Exit(1)
