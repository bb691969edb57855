"""The rules of the game: maps, moves, one turn, rewards."""
