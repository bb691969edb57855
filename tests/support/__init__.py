"""Helpers shared by several test files, which never import one another."""
