"""Implements ``generals-env warm``: compiles kernels before they are needed, for this machine or for a container image."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from generals_env.cli.dataset import console, errors
from generals_env.cli.warm_groups import AFTER, EXTRAS, GROUPS
from generals_env.cli.warm_stamps import is_warm
from generals_env.concurrency.thread_pool import available_cores
from generals_env.engine.kernel_cache.cache_folder import KERNEL_SUFFIX
from generals_env.engine.kernel_cache.numba_hook import cache_files
from generals_env.engine.kernel_cache.second_process import SHOWN
from generals_env.engine.kernel_cache.shipped_kernels import LEVELS, MANIFEST, VARIABLE, missing_features, origin
from generals_env.errors import ConfigError, GeneralsError

__all__ = ["Worker", "warm"]

MAX_PROCESSES = 4  # each needs up to half a gigabyte, and groups share kernels, which processes at the same time compile twice
UNFINISHED = ".unfinished-"  # begins the name of a folder that is moved when all is compiled
TICK = 0.1  # seconds between looks at the processes


def warm(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"What will be used: {', '.join(GROUPS)}. Default: all.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help=f"Folder for kernels that are shipped; {VARIABLE} names it where they are used.")
    ] = None,
    cpu: Annotated[
        str | None, typer.Option(help=f"With --out, processor level: {', '.join(LEVELS)}. Default: x86-64-v3, or generic.")
    ] = None,
) -> None:
    """Compile kernels now, so that the first game starts at once.

    Without --out they are kept where every start of this user looks for them. With --out they are written into a folder for
    other machines, for example in a container image: set GENERALS_ENV_KERNELS to its path there. Kernels that exist are not
    compiled again.
    """
    groups = chosen_groups(names or [])
    if cpu is not None and out is None:
        message = "expected --out beside it, got none: without it kernels are compiled for the processor of this machine"
        raise typer.BadParameter(message, param_hint="--cpu")
    started = time.monotonic()
    if out is None:
        files = cache_files()
        if files is None:
            raise ConfigError(
                "warm: expected a folder for kernels that this user can write, found none: set NUMBA_CACHE_DIR to one"
            )
        folder = files.folder
        cold = [group for group in groups if not is_warm(group)]
        compiled = sum(result["compiled"] for result in compile_groups(cold, dict(os.environ)))
    else:
        folder = out
        compiled = ship(groups, out, cpu or default_level())
    kept = len(list(folder.glob(f"*{KERNEL_SUFFIX}")))
    console.print(
        f"compiled {compiled} kernels in {time.monotonic() - started:.1f} s; {kept} are in {folder}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def chosen_groups(names: list[str]) -> list[str]:
    """Return the groups to compile, each once; a group without its libraries is an error if it was named."""
    if unknown := [name for name in names if name not in GROUPS]:
        raise typer.BadParameter(f"expected some of {', '.join(GROUPS)}, got {unknown[0]!r}", param_hint="NAMES")
    chosen = []
    for name in dict.fromkeys(names or GROUPS):
        library, extra = EXTRAS.get(name, ("numba", ""))
        if find_spec(library) is not None:
            chosen.append(name)
        elif names:
            raise typer.BadParameter(f'{library} is missing: pip install "generals_env[{extra}]"', param_hint="NAMES")
        else:
            console.print(f'skipped {name}, as {library} is missing: pip install "generals_env[{extra}]"', markup=False)
    return chosen


class Worker:
    """A process that compiles one group.

    Attributes:
        group: Its name.
        last: The last line that it printed, parsed.
    """

    def __init__(self, group: str, environment: dict[str, str]) -> None:
        """Start the process."""
        self.group = group
        self.last: dict[str, Any] = {}
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by ``result``
        self.process = subprocess.Popen(  # noqa: S603 - this interpreter runs a module of this package
            [sys.executable, "-m", "generals_env.cli.warm_worker", group],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
        )
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def _read(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self.last = json.loads(line)

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()

    def result(self) -> dict[str, Any]:
        """Return what the process printed last, and pass on its warnings.

        Raises:
            GeneralsError: If it failed.
        """
        self.reader.join()
        self.process.wait()
        with self.errors as file:
            file.seek(0)
            text = file.read().strip()
        if self.process.returncode or "folder" not in self.last:
            reason = text.splitlines()[-1] if text else f"status {self.process.returncode}"
            raise GeneralsError(f"warm: expected the group {self.group} to compile, got {reason}")
        if text:
            errors.print(text, style="yellow", markup=False, soft_wrap=True)
        return self.last


def compile_groups(groups: list[str], environment: dict[str, str]) -> list[dict[str, Any]]:
    """Compile groups in processes of their own, several at once, with progress; return the last line of each."""
    if not groups:
        return []
    environment = environment | {SHOWN: "1", "PYTHONUNBUFFERED": "1"}
    limit = min(available_cores(), MAX_PROCESSES)
    # The group that takes longest begins first, and one that needs its kernels last.
    waiting = sorted(groups, key=lambda name: (name in AFTER, name != "vector"))
    running: list[Worker] = []
    results: list[dict[str, Any]] = []
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("compiling kernels", total=None)
        if not errors.is_terminal:
            errors.print(f"compiling kernels: {', '.join(groups)}", markup=False)
        try:
            while waiting or running:
                for name in [name for name in waiting if AFTER.get(name) not in {*waiting, *(one.group for one in running)}]:
                    if len(running) < limit:
                        waiting.remove(name)
                        running.append(Worker(name, environment))
                time.sleep(TICK)
                for worker in [one for one in running if one.process.poll() is not None]:
                    running.remove(worker)
                    results.append(worker.result())
                state = [f"{one.group} ({one.last['functions']} functions)" for one in running if "functions" in one.last]
                bar.update(task, description=f"compiling kernels, {len(results)} of {len(groups)} groups: {', '.join(state)}")
        finally:
            for worker in running:
                worker.stop()
    return results


def default_level() -> str:
    """Return the processor level for kernels that are shipped: on x86 the one that processors since 2015 have."""
    return "x86-64-v3" if platform.machine().lower() in ("x86_64", "amd64") else "generic"


def ship(groups: list[str], out: Path, level: str) -> int:
    """Compile groups for a processor level into a folder; return the number of kernels compiled.

    Raises:
        ConfigError: If the level or the folder cannot be used.
    """
    if level not in LEVELS or (level.startswith("x86") and not default_level().startswith("x86")):
        raise ConfigError(f"cpu: expected one of {', '.join(LEVELS)} that fits {platform.machine()}, got {level!r}")
    if missing := missing_features(level):
        raise ConfigError(
            f"cpu: expected a level of this processor, as kernels run once when they are compiled, got {level}, which needs "
            f"{', '.join(missing)}: pass a lower level, or run this on a newer processor"
        )
    manifest = out / MANIFEST
    stored: dict[str, Any] = {}
    if manifest.is_file():
        with suppress(ValueError):  # a damaged one is written again
            stored = json.loads(manifest.read_text(encoding="utf-8"))
    elif out.exists() and (not out.is_dir() or not all(is_own(path) for path in out.iterdir())):
        raise ConfigError(f"out: expected an empty folder or one that this command has written, got {out} with other files")
    out.mkdir(parents=True, exist_ok=True)
    out.chmod(0o755)  # a folder that others can write to is refused where it is used
    if (stored.get("origin"), stored.get("cpu")) != (origin(), level):
        stored = {}
        manifest.unlink(missing_ok=True)
        for path in out.glob(f"*{KERNEL_SUFFIX}"):
            path.unlink()
    elif set(groups) <= set(stored["groups"]):
        return 0
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=out) as folder:
        environment = os.environ | compile_for(level) | {"NUMBA_CACHE_DIR": folder, VARIABLE: ""}
        if manifest.is_file():
            environment[VARIABLE] = str(out)  # what is there already is not compiled again
        results = compile_groups(groups, environment)
        for path in Path(results[0]["folder"]).glob(f"*{KERNEL_SUFFIX}"):
            shutil.move(path, out / path.name)
    write_manifest(out, level, results[0]["target"], sorted({*stored.get("groups", []), *groups}))
    return sum(result["compiled"] for result in results)


def is_own(path: Path) -> bool:
    """Return whether this command may have written a file of the folder for kernels that are shipped."""
    return path.suffix in (KERNEL_SUFFIX, ".tmp") or path.name.startswith(UNFINISHED)


def compile_for(level: str) -> dict[str, str]:
    """Return the environment variables with which numba compiles for a processor level, and for no other features."""
    # An empty value would mean the features of this processor on Windows, which has no empty variables.
    return {"NUMBA_CPU_NAME": level, "NUMBA_CPU_FEATURES": "+sse2" if level.startswith("x86") else ""}


def write_manifest(out: Path, level: str, target: list[str], groups: list[str]) -> None:
    """Write the file that says what the kernels of a folder were compiled from and for."""
    content = {"origin": origin(), "cpu": level, "target": target, "groups": groups}
    unfinished = out / f"{MANIFEST}.tmp"
    unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    unfinished.chmod(0o644)
    unfinished.replace(out / MANIFEST)
