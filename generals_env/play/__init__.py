"""A local server for a game of a person in a browser against agents."""

from generals_env.play.options import SessionOptions
from generals_env.play.session import Session

__all__ = ["Session", "SessionOptions"]
