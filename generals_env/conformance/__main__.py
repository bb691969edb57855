"""Runs ``python -m generals_env.conformance``."""

from __future__ import annotations

from generals_env.conformance.command import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
