"""Plays players against each other on the same maps, keeps the results, and rates the players."""
