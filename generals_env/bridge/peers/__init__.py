"""Lets agents of other packages play."""
