"""The game as numba kernels over arrays; knows no RL library and imports nothing of ours."""
