"""Branches: environments whose games continue the games of other environments."""
