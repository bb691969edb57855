"""Runs the command line with ``python -m generals_env.cli``."""

from __future__ import annotations

from generals_env.cli import main

__all__: list[str] = []

main()
