"""Plays live games on the public bot server, as an extra. It has not been run against that server."""

from __future__ import annotations

from generals_env.live.agent import load_live_policy
from generals_env.live.client import LiveClient, LiveResult, play_live
from generals_env.live.options import LiveOptions, read_user_id

__all__ = ["LiveClient", "LiveOptions", "LiveResult", "load_live_policy", "play_live", "read_user_id"]
