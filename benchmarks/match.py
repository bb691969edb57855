"""Measures matches of two built-in policies over pipes: their time, the runner's own share, first moves of an archive."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from generals_env.bridge.competition_boards import board_of
from generals_env.bridge.match.match_summary import MatchSummary
from generals_env.bridge.match.matches import MatchOptions, play_matches
from generals_env.bridge.pack import pack_agent
from generals_env.bridge.stdio_protocol import encode_frame, encode_handshake

SIDE = 20
COMMANDS = ("builtin:expander", "builtin:random")
MAPS = 50
STARTS = 5


def first_moves() -> list[float]:
    """Return the seconds from the start of a packed agent to its first reply, each from an empty home."""
    grid = [0] * SIDE**2
    grid[0], grid[-1] = 1, 2
    text = encode_handshake(0, SIDE, SIDE) + encode_frame(board_of(grid, SIDE, SIDE, 800), 0, 0)
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        pack_agent("expander", f"{place}/agent.zip")
        with zipfile.ZipFile(f"{place}/agent.zip") as archive:
            archive.extractall(f"{place}/agent")
        for i in range(STARTS):
            home = Path(place) / str(i)
            home.mkdir()
            paths = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
            begun = time.perf_counter()
            subprocess.run(
                ["sh", f"{place}/agent/run.sh"],
                input=text,
                env={"HOME": str(home), "PATH": paths},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            seconds.append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    """Play and print."""
    begun = time.perf_counter()
    results = play_matches(COMMANDS, MatchOptions(MAPS, height=SIDE, width=SIDE))
    summary = MatchSummary.of(COMMANDS, results, time.perf_counter() - begun)
    table = Table("", "", title=f"{summary.games} games of {' and '.join(COMMANDS)}, {SIDE}x{SIDE}, over pipes")
    table.add_row("seconds", f"{summary.seconds:.1f}")
    table.add_row("turns a second", f"{summary.turns / summary.seconds:,.0f}")
    table.add_row("runner's own share of a move", f"{summary.own_us:.0f} microseconds")
    for program in summary.programs:
        table.add_row(f"{program.command}, median and 99% of a move", f"{program.median_ms} ms, {program.p99_ms} ms")
    python = ".".join(map(str, sys.version_info[:3]))
    table.add_row(f"first move of an archive, Python {python}", f"{max(first_moves()):.2f} s at most in {STARTS} starts")
    Console().print(table)
