"""Reads recorded games of people from files and plays them again turn by turn."""

from __future__ import annotations

from generals_env.replay.reader import Replay, ReplayTurn, from_dict, read

__all__ = ["Replay", "ReplayTurn", "from_dict", "read"]
