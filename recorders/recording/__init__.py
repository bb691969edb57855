"""Records environments: makes batches of turns as they are played, and writes them to a sink.

Registers a subclass of ``ExperienceRecorder`` for each kind of environment.
"""

from __future__ import annotations

import gymnasium
from gymnasium.vector import VectorEnv
from pettingzoo import AECEnv, ParallelEnv

from generals_env.recorders.recording.base import ExperienceRecorder, register
from generals_env.recorders.recording.gymnasium_recorders import SingleRecorder, VectorRecorder
from generals_env.recorders.recording.pettingzoo_recorders import AECRecorder, ParallelRecorder
from generals_env.recorders.recording.wrapper_stack import is_sb3

__all__ = ["ExperienceRecorder"]


def load_sb3_recorder() -> type[ExperienceRecorder]:
    """Return the recorder of Stable-Baselines3's environments, imported now: the library is optional and slow to import."""
    from generals_env.recorders.recording.sb3_recorder import SB3Recorder

    return SB3Recorder


register(lambda env: isinstance(env, AECEnv), lambda: AECRecorder)
register(lambda env: isinstance(env, ParallelEnv), lambda: ParallelRecorder)
register(lambda env: isinstance(env, VectorEnv), lambda: VectorRecorder)
register(lambda env: isinstance(env, gymnasium.Env), lambda: SingleRecorder)
register(is_sb3, load_sb3_recorder)
