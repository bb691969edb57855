"""Measures games a second of the whole path: play, record, log, files, and the stream to one trainer, in three processes.

The collector plays as fast as it can for some seconds; the time counts until storage and trainer have its last experience, so
that the rate is one that all three keep up.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.line_process import LineProcess

WORKER = "whole_path"


def whole_path(seconds: float, max_turns: int, form: str | None = None, trainer: bool = False) -> dict[str, Any]:
    """Return what the whole path, or a part of it, handles.

    Args:
        seconds: How long games are played.
        max_turns: Turns after which a game is cut off.
        form: Format of the files; None for no storage.
        trainer: Whether a trainer receives the stream.

    Returns:
        Experiences, seconds until all have them, experiences a second, and the CPU microseconds an experience of each process.
    """
    with tempfile.TemporaryDirectory(dir=".") as place, ExitStack() as stack:
        folder = Path(place).resolve()
        collector = stack.enter_context(LineProcess(WORKER, "collector", str(folder / "log"), str(max_turns)))
        address = collector.line()
        readers = {}
        if form is not None:
            place_of_files = str(folder / "files")
            readers["storage"] = stack.enter_context(LineProcess(WORKER, "storage", str(folder / "log"), form, place_of_files))
        if trainer:
            readers["consumer"] = stack.enter_context(LineProcess(WORKER, "consumer", address))
        for reader in readers.values():
            assert reader.line() == "ready"
        start = time.perf_counter()
        collector.send(f"play {seconds}")
        played = json.loads(collector.line())
        for reader in readers.values():
            reader.send(f"until {played['last']}")
        cpu = {role: json.loads(reader.line())["cpu_seconds"] for role, reader in readers.items()}
        spent = time.perf_counter() - start if readers else played["seconds"]
        collector.send("end")
        cpu["collector"] = json.loads(collector.line())["cpu_seconds"]
    count = played["experiences"]
    return {
        "experiences": count,
        "seconds": spent,
        "per_second": count / spent,
        "cpu_microseconds": {role: 1e6 * value / count for role, value in cpu.items()},
    }
