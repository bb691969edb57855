"""Plays replays and traces, and compares each turn with what is recorded."""
