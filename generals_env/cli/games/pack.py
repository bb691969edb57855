"""Implements ``generals-env pack`` and ``generals-env starter``: archives of agents, and starting points for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from generals_env.bridge.pack import MAX_ARCHIVE, pack_agent
from generals_env.bridge.starter_files import LANGUAGES, copy_starter
from generals_env.cli.dataset import console

__all__ = ["pack", "starter"]


def pack(
    agent: Annotated[str, typer.Argument(help="random, expander, trained, a saved network, or a folder with run.sh.")],
    out: Annotated[Path, typer.Option(help="The archive.")] = Path("agent.zip"),
) -> None:
    """Write the archive of an agent for the competition, which needs no compiled kernels: Python and numpy are enough."""
    with console.status("packing"):
        names = pack_agent(agent, out)
    console.print(
        f"{out}: {len(names)} files, {out.stat().st_size:,} of at most {MAX_ARCHIVE:,} bytes", markup=False, soft_wrap=True
    )


def starter(
    language: Annotated[str, typer.Argument(help=", ".join(LANGUAGES))],
    folder: Annotated[Path, typer.Argument(help="Folder to write to.")],
) -> None:
    """Write an agent in Python, C++ or Rust that plays legal, simple moves, to start from."""
    for file in copy_starter(language, folder):
        console.print(str(file), markup=False, soft_wrap=True)
