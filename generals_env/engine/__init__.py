"""Plays the game in numba kernels over arrays; imports no RL library, and of this package only the version."""

# Import source_hash first: it must hash the sources before other modules of the engine are loaded from them.
from generals_env.engine.kernel_cache import source_hash

__all__ = ["source_hash"]
