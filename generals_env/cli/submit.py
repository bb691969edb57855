"""Implements ``generals-env submit``: sends recorded experience to a server."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer
from rich.table import Table

from generals_env.cli.dataset import Source, console, progress_bar
from generals_env.recorders import Dataset, open_dataset

__all__ = ["submit"]


def submit(
    source: Source,
    address: Annotated[
        str, typer.Argument(help="host:port or grpc://host:port of a server, or redis://host:port/db?stream=NAME.")
    ],
    skip_damaged: Annotated[bool, typer.Option(help="Skip damaged files.")] = False,
) -> None:
    """Send all experiences of a dataset or a log to a server; what it has already is not stored twice.

    The token of the server is read from the environment variable GENERALS_ENV_TOKEN, the password of Redis from
    GENERALS_ENV_REDIS_PASSWORD. grpcs:// and rediss:// use TLS. The exit status is 1 if the server rejects experiences.
    """
    dataset = open_dataset(source)
    if skip_damaged:
        dataset = dataset.skip_damaged()
    if address.startswith(("redis:", "rediss:")):
        submit_to_redis(dataset, source, address)
        return
    try:
        from generals_env.recorders.stream.client.submission import is_repeat
        from generals_env.recorders.stream.client.submitting_sink import open_server
    except ImportError as error:
        raise typer.BadParameter(f'{error.name} is missing: pip install "generals_env[stream]"') from error
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
    print_counts(source, address, accepted, repeated, reasons.total())
    for reason, count in reasons.most_common():
        console.print(f"rejected {count:,}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
    if reasons:
        raise typer.Exit(1)


def submit_to_redis(dataset: Dataset, source: str, address: str) -> None:
    """Add all experiences of a dataset to a stream of Redis."""
    from generals_env.recorders.distributed.redis_streams.sink import open_redis

    try:
        opened = open_redis(address)
    except ImportError as error:
        raise typer.BadParameter(str(error)) from error
    with opened as sink, progress_bar() as bar:
        task = bar.add_task("submitting", total=dataset.experiences)
        for batch in dataset:
            sink.write(batch)
            bar.update(task, advance=len(batch))
    print_counts(source, address, sink.accepted, sink.repeated, 0)


def print_counts(source: str, address: str, accepted: int, repeated: int, rejected: int) -> None:
    """Print what became of the experiences."""
    table = Table(show_header=False, title=f"{source} to {address}")
    table.add_row("accepted", f"{accepted:,}")
    table.add_row("already there", f"{repeated:,}")
    table.add_row("rejected", f"{rejected:,}")
    console.print(table)
