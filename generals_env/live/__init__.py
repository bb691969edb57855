"""Connects agents to the public bot server."""
