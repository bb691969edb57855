"""Measures the first use of this build beside that of an older one: ``python -m benchmarks first_use --before PATH``.

Each use is a new process: one with an empty cache of compiled kernels, one more in the same checkout, and one with the same
cache in a copy of the checkout that lies elsewhere and has no compiled byte code, like a fresh checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.builds import WORKERS, Build, builds
from benchmarks.pairs import Figures, in_turn, keep, table_of_pairs
from benchmarks.peers import environment, last_lines

USES = {
    "make": "make(), reset and one turn",
    "make_vec": "make_vec, reset, act, step and play",
}
CACHES = ("nothing compiled", "compiled before", "compiled before by another checkout")


def main(before: Path | None = None, rounds: int = 5) -> None:
    """Measure and print."""
    console = Console(width=180)
    found = builds(before, console)
    names = [build.name for build in found]
    wall: Figures = {}
    cpu: Figures = {}
    for number in range(rounds):
        for use, title in USES.items():
            with tempfile.TemporaryDirectory() as place:
                copies = [copied(build, Path(place, build.name, "checkout")) for build in found]
                for state, measured in zip(CACHES, (found, found, copies), strict=True):
                    console.print(f"round {number + 1} of {rounds}, {title}: {state}", style="dim")
                    for build in in_turn(measured, number):
                        seconds, cpu_seconds = started(build, use, Path(place, build.name, "cache"))
                        keep(wall, f"{title}: {state}", build.name, seconds)
                        keep(cpu, f"{title}: {state}", build.name, cpu_seconds)
    console.print(table_of_pairs("seconds until the results are there, with the import", wall, names))
    console.print(table_of_pairs("seconds of CPU of the process and those that it started", cpu, names))


def copied(build: Build, folder: Path) -> Build:
    """Return the build with its package copied into another folder."""
    # Links are followed: two folders of the package are links to folders beside it.
    shutil.copytree(build.folder / "generals_env", folder / "generals_env", ignore=shutil.ignore_patterns("__pycache__"))
    return build._replace(folder=folder)


def started(build: Build, use: str, cache: Path) -> tuple[float, float]:
    """Return the seconds of a use in a new process, and those of CPU of all processes.

    Raises:
        RuntimeError: The use failed, or the package of another folder was imported.
    """
    # The second variable is for builds that look for kernels in the folder of the user as well.
    variables = {"PYTHONPATH": str(build.folder), "NUMBA_CACHE_DIR": str(cache), "XDG_CACHE_HOME": str(cache)}
    first = os.times()
    done = subprocess.run(
        [build.python, WORKERS / "first_use.py", use],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    last = os.times()
    if done.returncode:
        raise RuntimeError(f"first_use.py {use}: ended with {done.returncode}\n{last_lines(done.stderr)}")
    result = json.loads(done.stdout.splitlines()[-1])
    if Path(result["package"]) != (build.folder / "generals_env").resolve():
        raise RuntimeError(f"first_use.py {use}: expected the package in {build.folder}, got {result['package']}")
    return result["seconds"], last.children_user + last.children_system - first.children_user - first.children_system


if __name__ == "__main__":
    main()
