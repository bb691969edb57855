"""Writes pages that show recorded games in a browser."""
