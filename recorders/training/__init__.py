"""Trains networks by double Q-learning on recorded experience."""
