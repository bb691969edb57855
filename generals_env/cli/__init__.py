"""Implements the command ``generals-env``."""

from __future__ import annotations

from generals_env.cli.app import main

__all__ = ["main"]
