"""Learning by double Q-learning from what was recorded."""
