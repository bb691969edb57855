"""Implements the commands that play, show, share and judge games."""
