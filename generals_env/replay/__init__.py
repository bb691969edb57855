"""Reads recorded games of people and of this package from files, plays them again turn by turn, and writes them."""

from __future__ import annotations

from generals_env.replay.files import load, write
from generals_env.replay.inference import Inferred, infer_actions
from generals_env.replay.reader import Replay, ReplayTurn, from_dict, read
from generals_env.replay.recorded_game import RecordedGame
from generals_env.replay.state_records import from_states

__all__ = [
    "Inferred",
    "RecordedGame",
    "Replay",
    "ReplayTurn",
    "from_dict",
    "from_states",
    "infer_actions",
    "load",
    "read",
    "write",
]
