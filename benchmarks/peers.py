"""Installs other libraries into virtual environments of their own, and measures them in separate processes.

Their requirements may conflict with those of this package, so they are never installed together.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

PEERS = Path(__file__).resolve().parent.parent / ".peers"

INSTALL_SECONDS = 900
MEASURE_SECONDS = 300
LINES = 8


class PeerMissing(Exception):  # noqa: N818 - not an error: the benchmark continues without the peer
    """A peer cannot be installed; the message contains the last lines of the output of pip."""


class PeerFailed(Exception):  # noqa: N818 - as above
    """A script of a peer failed, took too long or printed no JSON object."""


def peer_python(requirements: tuple[str, ...]) -> Path:
    """Return the interpreter of a virtual environment with these requirements; it is created on the first call.

    Args:
        requirements: Requirements for pip, with pinned versions, as an existing environment is reused without checks.

    Raises:
        PeerMissing: The environment cannot be created or pip cannot install the requirements.
    """
    home = PEERS / re.sub(r"[^\w.]+", "-", "_".join(requirements)).strip("-")
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    # Written last, so that an interrupted installation is not reused.
    installed = home / ".installed"
    if installed.exists() and python.exists():
        return python
    console = Console(stderr=True)
    wanted = " ".join(requirements)
    try:
        with console.status(f"installing {wanted} for comparison, once ..."):
            shutil.rmtree(home, ignore_errors=True)
            _install([sys.executable, "-m", "venv", str(home)])
            pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
            _install([*pip, "install", "--quiet", *requirements])
    except PeerMissing:
        shutil.rmtree(home, ignore_errors=True)
        raise
    installed.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    console.print(f"installed {wanted} in {home.relative_to(PEERS.parent)}", style="dim")
    return python


def measure(python: Path, script: Path, *arguments: object) -> dict[str, Any]:
    """Run a script with the interpreter of a peer and return the JSON object that it prints on its last line.

    Args:
        python: Interpreter that ``peer_python`` returned.
        script: File that does not import this package.
        arguments: Arguments of the script.

    Raises:
        PeerFailed: The script failed, took longer than ``MEASURE_SECONDS`` or printed no JSON object.
    """
    # No PYTHON* variables and no folder of the script (-P): the peer imports only what was installed for it.
    command = [str(python), "-P", str(script.resolve()), *map(str, arguments)]
    try:
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=MEASURE_SECONDS, check=True)
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"{script.name}: expected an end within {MEASURE_SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        raise PeerFailed(f"{script.name}: ended with {error.returncode}\n{last_lines(error.stderr)}") from error
    try:
        result = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        result = None
    if not isinstance(result, dict):
        raise PeerFailed(f"{script.name}: expected a JSON object on the last line, got\n{last_lines(done.stdout)}")
    return result


def _install(command: list[str]) -> None:
    """Run a step of an installation."""
    try:
        subprocess.run(
            command,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerMissing(f"{' '.join(command)}: expected an end within {INSTALL_SECONDS} seconds") from error
    except subprocess.CalledProcessError as error:
        raise PeerMissing(f"{' '.join(command)}: ended with {error.returncode}\n{last_lines(error.stdout)}") from error
    except OSError as error:
        raise PeerMissing(f"{' '.join(command)}: {error}") from error


def environment() -> dict[str, str]:
    """Return the environment variables without those that control Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def last_lines(text: str) -> str:
    """Return the last lines of the output of a process."""
    return "\n".join(text.strip().splitlines()[-LINES:])
