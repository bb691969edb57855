"""Checks an archive as the competition does: size, ``run.sh``, start from an empty home, games against a built-in policy."""

from __future__ import annotations

import stat
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from generals_env.bridge.match.marked_processes import MARK
from generals_env.bridge.match.match_game import GameResult
from generals_env.bridge.match.matches import MatchOptions, play_matches
from generals_env.bridge.pack import MAX_ARCHIVE
from generals_env.errors import StorageError
from generals_env.replay.file_text import DAMAGED_ARCHIVE

__all__ = ["Check", "Qualification", "qualify_archive"]

MAX_UNPACKED = 10**9  # bytes
MAX_FILES = 10_000
GAMES_WON = 2  # of three

#: Seconds of the first move that ``qualify_archive`` asks for, half of what the competition allows.
FIRST_MOVE = 5.0


@dataclass(frozen=True)
class Check:
    """A check: its name, whether it passed, and what was found."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True)
class Qualification:
    """The checks of an archive, and its games."""

    checks: tuple[Check, ...]
    results: tuple[GameResult, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(check.passed for check in self.checks)


def qualify_archive(
    archive: str | Path,
    opponent: str = "builtin:expander",
    options: MatchOptions | None = None,
    on_game: Callable[[GameResult], None] | None = None,
) -> Qualification:
    """Unpack an archive to a temporary folder, and play three games with an empty home and no caches.

    The agent runs with this process's Python as ``python3``.

    Args:
        archive: The archive.
        opponent: The program to play against.
        options: Options of the games; None: three maps of the competition.
        on_game: Called with each result as it comes.

    Raises:
        StorageError: If it cannot be read, or has unsafe names or too much content.
    """
    archive = Path(archive)
    options = MatchOptions(maps=3, both_seats=False) if options is None else options
    with tempfile.TemporaryDirectory() as place:
        folder, home = Path(place) / "agent", Path(place) / "home"
        home.mkdir()
        size = unpack(archive, folder)
        checks = [Check("size", size <= MAX_ARCHIVE, f"{size:,} bytes, at most {MAX_ARCHIVE:,}")]
        if not (folder / "run.sh").is_file():
            return Qualification((*checks, Check("run.sh", False, "the archive has none at its top")), ())
        checks.append(Check("run.sh", True, "at the top"))
        command = ["sh", "-c", f'cd "$0" && exec env -i {environment(home)} sh run.sh', str(folder)]
        results = play_matches([command, opponent], options, on_game)
    return Qualification((*checks, *judge_games(results)), tuple(results))


def environment(home: Path) -> str:
    """Return the variables of an agent, as words of a shell."""
    paths = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    kept = f'{MARK}="${MARK}"'  # by which processes that it leaves behind are found
    return f'PATH="{paths}" HOME="{home}" TMPDIR="{home}" LANG=C.UTF-8 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 {kept}'


def judge_games(results: list[GameResult]) -> list[Check]:
    """Return the checks of games of the agent, the first program."""
    sides = [result.sides[0] for result in results]
    forfeits = [side.forfeit for side in sides if side.forfeit]
    first = [side.times[0] for side in sides if side.times]
    faults = sum((side.faults for side in sides), start=type(sides[0].faults)())
    won = sum(result.winner == 0 for result in results)
    needed = -(-GAMES_WON * len(results) // 3)
    slowest = f"{max(first):.2f} s at most in {len(first)} games, limit here {FIRST_MOVE:g} s" if first else "no reply"
    return [
        Check("first move from an empty home", len(first) == len(results) and max(first) <= FIRST_MOVE, slowest),
        Check("no forfeits", not forfeits, ", ".join(forfeits) or "none"),
        Check("no faults", not faults, ", ".join(f"{count} {kind}" for kind, count in faults.items()) or "none"),
        Check(
            "memory", not any("memory" in text for text in forfeits), f"{max(side.memory for side in sides) / 10**6:,.0f} MB"
        ),
        Check("games won", won >= needed, f"{won} of {len(results)}, {needed} needed"),
    ]


def unpack(archive: Path, folder: Path) -> int:
    """Unpack an archive, and return its size in bytes."""
    try:
        size = archive.stat().st_size
        with zipfile.ZipFile(archive) as packed:
            entries = packed.infolist()
            if len(entries) > MAX_FILES or sum(entry.file_size for entry in entries) > MAX_UNPACKED:
                raise StorageError(
                    f"archive: expected at most {MAX_FILES:,} files of {MAX_UNPACKED:,} bytes in all, "
                    f"got more in {str(archive)!r}"
                )
            for entry in entries:
                unpack_file(packed, entry, folder)
    except DAMAGED_ARCHIVE as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"archive: expected a zip that can be read, got {str(archive)!r} ({error})") from error
    return size


def unpack_file(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    """Unpack one file, never outside of the folder and never as a link."""
    target = folder / entry.filename
    mode = entry.external_attr >> 16
    if not target.resolve().is_relative_to(folder.resolve()) or stat.S_ISLNK(mode):
        raise StorageError(f"archive: expected files inside of its folder, got {entry.filename!r}: pack without links and '..'")
    if entry.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with packed.open(entry) as source, target.open("wb") as file:
        left = entry.file_size  # what the archive says; more would raise in zipfile
        while left > 0 and (block := source.read(min(left, 2**20))):
            file.write(block)
            left -= len(block)
    if mode & 0o100:
        target.chmod(0o755)
