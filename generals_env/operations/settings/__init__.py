"""Defines, loads, and reloads the settings of ``experience.yaml``."""
