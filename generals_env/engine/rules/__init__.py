"""Implements the rules of the game: maps, moves, one turn, rewards."""
