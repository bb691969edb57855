"""Packs an agent into an archive for the competition: code that needs numpy alone, the same bytes each time."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import zipfile
from pathlib import Path

from generals_env.agents.shipped import is_shipped, shipped_file
from generals_env.agents.weight_files import NetworkWeights, load_weights, weights_bytes
from generals_env.agents.weight_players import weight_player
from generals_env.bridge.builtin_players import PLAYERS
from generals_env.bridge.stdio_agent import REMEMBERING
from generals_env.errors import ConfigError, StorageError

__all__ = ["MAX_ARCHIVE", "pack_agent"]

#: Bytes of an archive, at most.
MAX_ARCHIVE = 50 * 10**6

PACKAGE = Path(__file__).parent.parent

#: Modules of the package that an agent runs; they import each other, numpy and the standard library.
MODULES = (
    "agents/numpy_layers.py",
    "agents/numpy_policy_network.py",
    "agents/numpy_q_network.py",
    "agents/sampled_player.py",
    "agents/shipped.py",
    "agents/weight_files.py",
    "agents/weight_players.py",
    "bridge/builtin_players.py",
    "bridge/competition_actions.py",
    "bridge/frame_views.py",
    "bridge/launcher.py",
    "bridge/stdio_agent.py",
    "bridge/stdio_protocol.py",
    "engine/boards.py",
    "errors.py",
    "version.py",
)

RUN = """#!/bin/sh
cd "$(dirname "$0")" || exit 1
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
exec python3 generals_env/bridge/launcher.py --policy {policy}
"""

WEIGHTS = "weights.npz"

#: The earliest time of a file in an archive.
EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_agent(agent: str | Path, out: str | Path) -> list[str]:
    """Write the archive of an agent, and return the names of its files.

    Equal agents give equal bytes. The file appears whole or not at all.

    Args:
        agent: ``random`` or ``expander``, an agent of the package (``trained``), a saved network, or a folder with
            ``run.sh``.
        out: The archive, ``.zip``.

    Raises:
        ConfigError: If there is no such agent, or ``out`` does not end in ``.zip``.
        StorageError: If a file cannot be read or written, or the archive is too large.
    """
    agent, out = str(agent), Path(out)
    if out.suffix != ".zip":
        raise ConfigError(f"out: expected a file that ends in .zip, got {out.name!r}: rename it")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if agent in PLAYERS:
            copy_package(folder, agent)
        elif agent.partition(":")[0] in REMEMBERING:
            raise ConfigError(
                f"agent: expected a policy that numpy alone can play, got {agent!r}, whose kernels a sandbox would compile for "
                f"longer than it may think: pack {' or '.join(PLAYERS)}, a checkpoint, or a folder of your own"
            )
        elif is_shipped(agent):
            copy_network(folder, load_weights(shipped_file(agent)))
        elif Path(agent).is_dir():
            folder = Path(agent)
            if not (folder / "run.sh").is_file():
                raise ConfigError(f"agent: expected a folder with run.sh, got {agent!r}: write one, as in generals-env starter")
        elif Path(agent).is_file():
            from generals_env.networks.saved_players import load_network_weights

            copy_network(folder, load_network_weights(agent))
        else:
            raise ConfigError(
                f"agent: expected {', '.join(PLAYERS)}, trained, a checkpoint or a folder that exists, got {agent!r}"
            )
        try:
            return write_archive(folder, out)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"out: expected a file that can be written, got {str(out)!r} ({error})") from error


def copy_package(folder: Path, policy: str) -> None:
    """Write the modules of an agent and its ``run.sh`` to a folder."""
    for name in MODULES:
        target = folder / "generals_env" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PACKAGE / name, target)
    (folder / "run.sh").write_text(RUN.format(policy=policy))


def copy_network(folder: Path, network: NetworkWeights) -> None:
    """Write the modules of an agent, its ``run.sh`` and a network to a folder."""
    weight_player(network)  # raises for networks that do not fit the frames
    copy_package(folder, WEIGHTS)
    (folder / WEIGHTS).write_bytes(weights_bytes(network))


def write_archive(folder: Path, out: Path) -> list[str]:
    """Write all files of a folder but caches and hidden ones to an archive, sorted, with equal times."""
    files = {str(path.relative_to(folder)): path for path in find_files(folder, out)}
    hidden = out.with_name(f".{out.name[:100]}-{uuid.uuid4().hex}.part")
    try:
        with zipfile.ZipFile(hidden, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                runs = name == "run.sh" or os.access(files[name], os.X_OK)
                entry.external_attr = (0o100755 if runs else 0o100644) << 16
                entry.create_system = 3  # Unix, so that the rights of files are kept
                with files[name].open("rb") as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target)
                check_size(hidden.stat().st_size, out)
        check_size(hidden.stat().st_size, out)
        hidden.replace(out)
    finally:
        hidden.unlink(missing_ok=True)
    return sorted(files)


def check_size(size: int, out: Path) -> None:
    """Raise ``StorageError`` for an archive that is too large."""
    if size > MAX_ARCHIVE:
        raise StorageError(
            f"agent: expected an archive of at most {MAX_ARCHIVE:,} bytes, got {size:,} in {out.name}: "
            "remove files from the folder"
        )


def find_files(folder: Path, out: Path) -> list[Path]:
    """Return the files of a folder for an archive.

    Raises:
        StorageError: If there is a link, which could lead outside.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") or part == "__pycache__" for part in parts) or path.resolve() == out.resolve():
            continue
        if path.is_symlink():
            raise StorageError(f"agent: expected files and folders, got the link {str(path)!r}: copy what it leads to")
        if path.is_file():
            found.append(path)
    return found
