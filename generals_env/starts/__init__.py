"""Where games begin: generals at a given distance, or boards in the middle of a game."""

from generals_env.starts.board_codec import StartBoards
from generals_env.starts.spawn_distance import SpawnDistance
from generals_env.starts.start_option import checked_start, start_boards

__all__ = ["SpawnDistance", "StartBoards", "checked_start", "start_boards"]
