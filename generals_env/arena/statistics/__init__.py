"""Computes intervals, ratings and sequential tests from results of games."""
