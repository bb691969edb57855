"""Runs the benchmarks of the areas that the command line names."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

#: The options that each area takes.
AREAS = {
    "env": (),
    "engine": (),
    "first_use": ("before", "rounds"),
    "turns": ("before", "rounds"),
    "generals_bots": ("peer", "rounds"),
    "buffers": (),
    "storage": (),
    "stream": (),
    "metrics": ("rounds",),
    "replay": ("rounds",),
    "latency": ("seconds",),
    "capacity": ("seconds", "write"),
    "scale": ("rounds", "seconds", "write"),
    "viewer": (),
    "rendering": ("rounds",),
    "match": (),
    "ray": ("rounds",),
    "inference": ("rounds",),
    "redis": ("rounds",),
    "export": ("rounds",),
    "learning": ("rounds", "seconds"),
}


def main() -> None:
    """Run the areas named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures speed and memory.")
    parser.add_argument("areas", nargs="+", metavar="AREA", choices=AREAS, help=f"areas: {', '.join(AREAS)}")
    parser.add_argument(
        "--before", type=Path, metavar="PATH", help="first_use, turns: checkout of an older build, with a .venv"
    )
    parser.add_argument("--peer", type=Path, metavar="PATH", help="generals_bots: checkout of generals-bots 2.6")
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        metavar="N",
        help="rounds of those that compare in turn: first_use, turns, generals_bots, metrics, replay, rendering, inference, "
        "redis, export, learning; 5 by default",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=argparse.SUPPRESS,
        metavar="N",
        help="latency: of calls of each function, 1 by default; capacity: of each run of the whole path, 3 by default; "
        "scale: of each measurement and run, 6 by default; learning: of each measurement, 20 by default",
    )
    parser.add_argument("--write", action="store_true", help="capacity, scale: write inputs and tables into docs/")
    arguments = parser.parse_args()
    for area in arguments.areas:
        options = {name: getattr(arguments, name) for name in AREAS[area] if hasattr(arguments, name)}
        importlib.import_module(f"benchmarks.{area}").main(**options)


if __name__ == "__main__":
    main()
