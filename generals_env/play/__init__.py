"""A local server for a game of a person in a browser against agents."""

from generals_env.play.session import Session, SessionOptions

__all__ = ["Session", "SessionOptions"]
