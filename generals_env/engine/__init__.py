"""The game as numba kernels over arrays; knows no RL library and imports nothing of ours but the version."""

# Hashed before any other module of the engine is imported: the hash must be of the sources that run.
from generals_env.engine.kernel_cache import source_hash

__all__ = ["source_hash"]
