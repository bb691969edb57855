"""Serves a game of a person against an agent to a browser on the same machine."""
