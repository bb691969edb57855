"""Chooses the opponents and the games of a learner: pools of past selves, curricula, and ratings while it trains."""
