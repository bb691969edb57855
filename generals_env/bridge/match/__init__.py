"""Plays matches of two programs over pipes, under limits of time, memory and faults."""
