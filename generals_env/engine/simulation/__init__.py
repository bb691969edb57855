"""Plays turns of one game and of many games at once."""
