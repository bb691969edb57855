"""Clones the play of people: a store of their moves, and a learner of a policy network."""

from generals_env.learning.cloning.accuracy import Accuracy
from generals_env.learning.cloning.cloner import Cloner
from generals_env.learning.cloning.cloning_config import CloningConfig
from generals_env.learning.cloning.held_out import Split, hold_out
from generals_env.learning.cloning.move_store import MoveStore, StoreOptions
from generals_env.learning.cloning.people_games import games_of_batches, games_of_replays

__all__ = [
    "Accuracy",
    "Cloner",
    "CloningConfig",
    "MoveStore",
    "Split",
    "StoreOptions",
    "games_of_batches",
    "games_of_replays",
    "hold_out",
]
