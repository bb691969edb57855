"""Implements ``generals-env peer``: environments in which agents of generals-bots play."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from generals_env.bridge.peers.peer_environments import REQUIREMENTS, install_environment
from generals_env.cli.dataset import console

__all__ = ["app"]

app = typer.Typer(help="Environments in which agents of generals-bots play.", no_args_is_help=True)

MAX_SHOWN = 80  # characters of a line of pip


@app.callback()
def peer() -> None:
    """Keep ``install`` a word of the command line, although it is the only command."""


@app.command()
def install(
    version: Annotated[
        str, typer.Argument(help="2.5: generals-bots 2.5.0 from PyPI; 2.6: JAX for a checkout, which is not on PyPI.")
    ] = "2.5",
) -> None:
    """Make a virtual environment in the user's cache folder, by pip, or make it anew."""
    wanted = ", ".join(REQUIREMENTS.get(version, ()))
    with console.status(f"installing {wanted}") as status:

        def show(line: str) -> None:
            status.update(f"installing {wanted}: {escape(line[:MAX_SHOWN])}")

        python = install_environment(version, show)
    console.print(f"installed {wanted} for {python}", markup=False, soft_wrap=True)
