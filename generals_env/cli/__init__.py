"""Implements the command ``generals-env``."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["agent"] and "--help" not in sys.argv:
        # An agent has seconds for its first move: the imports of all other commands take longer than its own.
        from generals_env.bridge.launcher import main as play

        raise SystemExit(play(sys.argv[2:]))
    from generals_env.cli.app import main as run

    run()
