"""The game as numba kernels over arrays; knows no RL library and imports nothing of ours but the version."""

from generals_env.engine import source_hash  # noqa: F401 - before all others: it tells what they are made of
