"""Runs the benchmarks of the areas that the command line names."""

from __future__ import annotations

import importlib
import sys

AREAS = ("env", "engine", "buffers", "storage", "stream")


def main() -> None:
    """Run the areas named on the command line."""
    areas = sys.argv[1:]
    if not areas or any(area not in AREAS for area in areas):
        raise SystemExit(f"usage: python -m benchmarks AREA [AREA ...], areas: {', '.join(AREAS)}")
    for area in areas:
        importlib.import_module(f"benchmarks.{area}").main()


if __name__ == "__main__":
    main()
