"""Boards in two bytes a tile: packed, gathered, expanded to tensors, written while games are played."""
