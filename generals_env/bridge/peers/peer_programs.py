"""Turns the name of an agent of generals-bots, as ``peer:hunter``, into the arguments of a program of the line protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from generals_env.bridge.peers.peer_environments import compiled_folder, environment_python
from generals_env.errors import ConfigError

__all__ = ["PEER", "PeerSource", "is_peer", "peer_arguments"]

#: What the name of an agent of generals-bots begins with.
PEER = "peer:"

LAUNCHER = Path(__file__).parent / "generals_bots_launcher.py"

CHECK_SECONDS = 120  # importing JAX takes a second, on a busy machine more
BUILD_SECONDS = 600

#: Starts a program of the kit in its folder; ``python`` is this process's.
RUN_KIT = 'cd "$0" && PATH="$1:$PATH" exec bash run.sh'


@dataclass(frozen=True)
class PeerSource:
    """Where generals-bots lies.

    Attributes:
        checkout: Folder of a checkout of version 2.6; None: version 2.5.0, installed for ``python``.
        python: A Python for which JAX (for a checkout) or generals-bots 2.5.0 is installed; None: that of
            ``generals-env peer install``.
    """

    checkout: Path | None = None
    python: Path | None = None


def is_peer(command: str) -> bool:
    """Return whether a command names an agent of generals-bots."""
    return command.startswith(PEER)


def peer_arguments(command: str, source: PeerSource | None = None) -> list[str]:
    """Return the arguments of the program that plays an agent of generals-bots.

    The agent is imported once, so that what is missing is said before a game begins.

    Args:
        command: ``peer:NAME`` or ``peer:NAME@CHECKOUT``. NAME is an agent of the package (``random``, ``expander``; 2.6 has
            ``hunter`` and ``harvester``, too), a program of the competition kit of the checkout (``expander_python``), or
            ``module:Class``, an agent of the user, found in the current folder or on PYTHONPATH.
        source: Where generals-bots lies; a checkout in ``command`` comes first.

    Raises:
        ConfigError: If checkout, environment, version or agent are missing or not usable.
    """
    source = PeerSource() if source is None else source
    name, at, place = command.removeprefix(PEER).partition("@")
    checkout = Path(place).expanduser() if at else source.checkout
    if not name or (at and not place):
        raise ConfigError(
            f"command: expected peer:NAME or peer:NAME@CHECKOUT, got {command!r}: write for example peer:expander"
        )
    if checkout is not None:
        checkout = checkout.absolute()
        check_checkout(checkout)
        kit = checkout / "competition" / "agents" / name
        if "/" not in name and (kit / "run.sh").is_file():
            build_kit(kit)
            return ["sh", "-c", RUN_KIT, str(kit), str(Path(sys.executable).parent)]
    python = source.python or environment_python("2.5" if checkout is None else "2.6")
    arguments = [str(python.expanduser().absolute()), "-P", str(LAUNCHER), "--agent", name]
    if checkout is not None:
        arguments += ["--checkout", str(checkout)]
        arguments += [] if (cache := compiled_folder()) is None else ["--cache", str(cache)]
    check_launch(arguments)
    return arguments


def check_checkout(checkout: Path) -> None:
    """Check that a folder looks like a checkout.

    Raises:
        ConfigError: If it does not.
    """
    if not (checkout / "pyproject.toml").is_file() or not (checkout / "generals" / "agents").is_dir():
        raise ConfigError(
            f"peer: expected a checkout of generals-bots 2.6, got {str(checkout)!r}: "
            "clone https://github.com/strakam/generals-bots and name its folder"
        )


def check_launch(arguments: list[str]) -> None:
    """Import the agent once as the program will.

    Raises:
        ConfigError: If Python, generals-bots, JAX or the agent is missing, or the version is another one.
    """
    try:
        done = subprocess.run(  # noqa: S603 - as the program itself
            [*arguments, "--check"], capture_output=True, text=True, errors="replace", timeout=CHECK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"peer: expected a Python that can be started, got {arguments[0]!r} ({error})") from error
    try:
        version = json.loads(done.stdout)["version"] if done.returncode == 0 else ""
    except (ValueError, TypeError, KeyError):
        version = ""
    if not version:
        said = "\n".join(done.stderr.strip().splitlines()[-3:]).removeprefix("error: ") or f"status {done.returncode}"
        raise ConfigError(
            f"peer: expected an agent of generals-bots that can play, got: {said}\n"
            "check the name, --peer and --peer-python; 'generals-env peer install' makes an environment"
        )


def build_kit(folder: Path) -> None:
    """Build a program of the kit, as the kit's own runner does.

    Raises:
        ConfigError: If it has a ``build.sh`` that fails.
    """
    if not (folder / "build.sh").is_file():
        return
    try:
        done = subprocess.run(
            ["bash", "build.sh"],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=BUILD_SECONDS,
            check=False,
        )
        failed, said = done.returncode != 0, "\n".join(done.stderr.strip().splitlines()[-3:])
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, said = True, str(error)
    if failed:
        raise ConfigError(f"peer: expected {folder.name}/build.sh to succeed, got: {said}\ninstall its compiler")
