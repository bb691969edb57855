"""Chooses the actions of the built-in opponents."""
