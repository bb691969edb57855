"""Plays, records, stores and streams in supervised processes, the command ``generals-env run``."""
