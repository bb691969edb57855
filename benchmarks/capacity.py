"""Measures the inputs of docs/capacity.md, prints its tables, and writes both into the docs with ``--write``.

It takes about three minutes. Run it on a machine without other work: rates and CPU times are those of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from rich.console import Console

from benchmarks.capacity_inputs import measure
from benchmarks.capacity_tables import filled, tables

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, INPUTS = DOCS / "capacity.md", DOCS / "capacity.json"

SECONDS = 3.0


def main(seconds: float = SECONDS, write: bool = False) -> None:
    """Measure and print.

    Args:
        seconds: How long each run of the whole path plays.
        write: Whether to write the inputs and the tables into the docs.
    """
    console = Console(width=200, soft_wrap=True)
    folder = Path("runs/benchmark")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)  # on the disk of the checkout: /tmp may be memory
    try:
        inputs = measure(console, seconds)
    finally:
        os.chdir(before)
    text = json.dumps(inputs, indent=1) + "\n"
    found = tables(json.loads(text))
    console.print(text, markup=False, highlight=False)
    for name, lines in found.items():
        console.print(f"{name}\n\n{lines}\n", markup=False, highlight=False)
    if write:
        INPUTS.write_text(text, encoding="utf-8")
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
        console.print(f"written: {INPUTS.name} and the tables of {PAGE.name}")


if __name__ == "__main__":
    main()
