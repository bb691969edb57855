"""Sinks that check, repeat, share out or drop experience on its way."""
