"""Trains agents: PPO with self-play, curricula, behaviour cloning, and the buffers, logs and checkpoints that they need."""
