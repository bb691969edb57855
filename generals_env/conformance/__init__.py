"""Judges an engine, this package's or another one, by recorded games whose every turn is known."""

from __future__ import annotations

from generals_env.conformance.checking import check
from generals_env.conformance.engines import ReplayActions, Setup
from generals_env.conformance.report import Difference, Verdict

__all__ = ["Difference", "ReplayActions", "Setup", "Verdict", "check"]
