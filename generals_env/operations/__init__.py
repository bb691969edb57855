"""Runs the package for days: settings, metrics, health, and the command ``generals-env run``."""
