"""Exports wrappers of Gymnasium environments, the adapter for Stable-Baselines3, and built-in opponents.

From the root of a checkout, ``import wrappers`` gives the same objects as ``generals_env.wrappers``.
"""

from __future__ import annotations

if __name__ == "generals_env.wrappers":
    import importlib
    from typing import TYPE_CHECKING, Any

    if TYPE_CHECKING:
        from generals_env.wrappers.builtin_policy import OPPONENTS, Opponent
        from generals_env.wrappers.fog_memory import FogMemory
        from generals_env.wrappers.frame_stack import FrameStack
        from generals_env.wrappers.sb3 import SB3VecEnv
        from generals_env.wrappers.shaping import PotentialShaping
        from generals_env.wrappers.symmetry import RandomSymmetry

    __all__ = ["OPPONENTS", "FogMemory", "FrameStack", "Opponent", "PotentialShaping", "RandomSymmetry", "SB3VecEnv"]

    # Modules are imported on first access: one needs an extra, others compile kernels.
    _HOMES = {
        "FogMemory": "fog_memory",
        "FrameStack": "frame_stack",
        "OPPONENTS": "builtin_policy",
        "Opponent": "builtin_policy",
        "PotentialShaping": "shaping",
        "RandomSymmetry": "symmetry",
        "SB3VecEnv": "sb3",
    }

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
else:
    from generals_env.import_aliases import alias_package

    alias_package(__name__, "generals_env.wrappers")
