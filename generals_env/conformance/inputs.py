"""Finds replays and traces in files and folders, reads them within bounds, and tells their forms apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generals_env.conformance.report import SKIPPED, UNUSABLE, Verdict
from generals_env.errors import ReplayError
from generals_env.replay.file_text import parse, unzipped
from generals_env.replay.lz_string import MAX_CHARACTERS

__all__ = ["CASES", "COMPETITION", "FOG", "FRAMES", "REPLAY", "TRACE", "Input", "find_files", "identify", "load"]

#: Forms of files.
REPLAY, TRACE, FOG, CASES, COMPETITION, FRAMES = (
    "replay",
    "trace",
    "fog",
    "cases",
    "competition",
    "frames",
)

#: Files of a folder that may be replays or traces.
ENDINGS = (".gior", ".gioreplay", ".json", ".json.gz")
MAX_BYTES = 32 * 2**20  # of a file, before and after decompression; the largest trace of the tests has 0.8 million


@dataclass(frozen=True)
class Input:
    """A file and what it is.

    Attributes:
        path: The file.
        form: One of the forms of this module.
        id: Id of the game that a replay, a trace or a fog file is about.
    """

    path: Path
    form: str
    id: str = ""


def find_files(paths: Iterable[Path]) -> tuple[list[tuple[Path, bool]], list[Verdict]]:
    """Return the files to read, each with whether it was named itself, and a verdict on each path that is none.

    A file is listed once; files of a folder and its sub-folders come in order of their names.
    """
    files: dict[Path, tuple[Path, bool]] = {}
    refused = []
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.name.endswith(ENDINGS) and file.is_file():
                    files.setdefault(file.resolve(), (file, False))
        elif path.is_file():
            files[path.resolve()] = path, True
        else:
            refused.append(Verdict(str(path), "", "", UNUSABLE, reason="expected a file or a folder, got none: check the path"))
    return list(files.values()), refused


def load(path: Path) -> Any:
    """Return the content of a file of JSON or ``.gior``, gzipped or not.

    Raises:
        ReplayError: If it cannot be read, is damaged or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ReplayError(f"expected a readable file, got {error}: check path and permissions") from error
    return parse(unzipped(data, MAX_BYTES), MAX_CHARACTERS)


def identify(path: Path, named: bool) -> Input | Verdict:
    """Return what a file is, or a verdict on a file without a game to judge.

    Args:
        path: The file.
        named: Whether the caller named the file itself, instead of its folder: an unknown form is an error then.
    """
    try:
        content = load(path)
    except ReplayError as error:
        return Verdict(str(path), "", "", UNUSABLE, reason=str(error))
    if isinstance(content, dict):
        if content.get("format") == "gio-trace-1":
            return Input(path, TRACE, str(content.get("replay", "")))
        if content.get("format") == "gio-fog-1":
            return Input(path, FOG, str(content.get("replay", "")))
        if "mapWidth" in content:
            return Input(path, REPLAY, str(content.get("id", "")))
        if "replays" in content or "files" in content:
            return Verdict(str(path), "", "list of files", SKIPPED, reason="it lists files and holds no game")
    if isinstance(content, list) and content:
        first = content[0]
        if isinstance(first, int) and len(content) > 10:
            return Input(path, REPLAY, str(content[1]))
        if isinstance(first, dict):
            form = of_games(first)
            if form == "maps":
                return Verdict(str(path), "", form, SKIPPED, reason="maps of another generator: there is no game to play")
            if form:
                return Input(path, form)
    reason = "expected a replay, a trace or a list of them, got JSON of another form: see docs/conformance.md for the forms"
    return Verdict(str(path), "", "", UNUSABLE if named else SKIPPED, reason=reason)


def of_games(first: dict[str, Any]) -> str:
    """Return the form of a list of games by the fields of the first one; empty if it is unknown."""
    fields = set(first)
    if {"replay", "expect"} <= fields:
        return CASES
    if {"grid", "actions", "crc"} <= fields:
        return COMPETITION
    if {"grid", "state", "frame"} <= fields:
        return FRAMES
    return "maps" if {"grid", "seed"} <= fields else ""
