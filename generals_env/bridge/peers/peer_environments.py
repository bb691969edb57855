"""Makes virtual environments for generals-bots in the user's cache folder, as its requirements conflict with this package's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from generals_env.engine.kernel_cache.cache_folder import user_cache_folder
from generals_env.errors import ConfigError, StorageError

__all__ = ["REQUIREMENTS", "compiled_folder", "environment_python", "install_environment"]

#: What is installed for each version. 2.6 is not on PyPI: JAX is installed, and its checkout is imported from where it lies.
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "2.5": ("generals-bots==2.5.0",),
    "2.6": ("jax==0.10.2", "jaxlib==0.10.2", "numpy==2.4.6"),
}

#: Written last into an environment, so that an interrupted installation is not used.
INSTALLED = ".installed"

LAST_LINES = 8


def peers_folder() -> Path | None:
    """Return the folder of what is kept for other packages, which need not exist; None if the user has no cache folder."""
    folder = user_cache_folder()
    return None if folder is None else folder / "generals_env" / "peers"


def compiled_folder() -> Path | None:
    """Return the folder for functions that JAX compiled, which need not exist; None if the user has no cache folder."""
    folder = peers_folder()
    return None if folder is None else folder / "compiled"


def environment_folder(version: str) -> Path:
    """Return the folder of the environment of a version, which need not exist.

    Raises:
        StorageError: If the user has no cache folder.
    """
    folder = peers_folder()
    if folder is None:
        raise StorageError("peer: expected a folder for caches of the user, got none: set HOME, or give --peer-python")
    return folder / f"generals-bots-{version}"


def environment_python(version: str) -> Path:
    """Return the Python of the environment of a version.

    Args:
        version: ``"2.5"`` or ``"2.6"``.

    Raises:
        ConfigError: If it was not installed.
    """
    home = environment_folder(version)
    if not (home / INSTALLED).is_file():
        raise ConfigError(
            f"peer: expected an environment for generals-bots {version}, got none in {home}: "
            f"make it with 'generals-env peer install {version}', or give --peer-python"
        )
    return python_of(home)


def python_of(home: Path) -> Path:
    """Return the Python of a virtual environment."""
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install_environment(
    version: str, on_line: Callable[[str], None] | None = None, requirements: Sequence[str] | None = None
) -> Path:
    """Make the environment of a version anew, and return its Python; pip uses the package index that it is set up for.

    Args:
        version: ``"2.5"`` or ``"2.6"``.
        on_line: Called with each line that pip prints.
        requirements: Arguments of ``pip install``; None: those of the version.

    Raises:
        ConfigError: If there is no such version.
        StorageError: If the environment cannot be made, or pip fails; no unfinished one stays.
    """
    if version not in REQUIREMENTS:
        raise ConfigError(f"version: expected one of {', '.join(REQUIREMENTS)}, got {version!r}")
    home = environment_folder(version)
    python = python_of(home)
    wanted = list(REQUIREMENTS[version] if requirements is None else requirements)
    try:
        shutil.rmtree(home, ignore_errors=True)
        run_lines([sys.executable, "-m", "venv", str(home)], on_line)
        run_lines([str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", *wanted], on_line)
        (home / INSTALLED).write_text("\n".join(wanted) + "\n", encoding="utf-8")
    except BaseException as error:  # an interruption, too, leaves nothing
        shutil.rmtree(home, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError(f"peer: expected an environment that can be made in {home}, got {error}") from error
        raise
    return python


def run_lines(command: Sequence[str], on_line: Callable[[str], None] | None) -> None:
    """Run a step of an installation, and hand on the lines of its output.

    Raises:
        StorageError: If it fails; the error has its last lines.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    last: list[str] = []
    with subprocess.Popen(  # noqa: S603 - venv and pip
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        try:
            for line in process.stdout or ():
                last = [*last[1 - LAST_LINES :], line.rstrip()]
                if on_line is not None:
                    on_line(line.rstrip())
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        text = "\n".join(last)
        raise StorageError(f"peer: expected {' '.join(command[-4:])} to succeed, got the status {process.returncode}:\n{text}")
