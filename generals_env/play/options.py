"""Defines ``SessionOptions``: who plays, on which board, by which rules, at which speed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from generals_env.config import GameConfig
from generals_env.errors import ConfigError

__all__ = ["SessionOptions"]

#: Turns of a game without a limit by its rules.
MAX_TURNS = 5000


@dataclass(frozen=True)
class SessionOptions:
    """What is played.

    Attributes:
        opponents: Names of the agents, see ``agents.make_agent``: one for all other seats, or one for each.
        seat: Seat of the person.
        speed: Turns a second.
        seed: Seed of the first map; None for a random one.
        name: Name of the person.
        game: Options of ``GameConfig``.
    """

    opponents: tuple[str, ...] = ("expander",)
    seat: int = 0
    speed: float = 2.0
    seed: int | None = None
    name: str = "You"
    game: dict[str, Any] = field(default_factory=dict)

    def config(self) -> GameConfig:
        """Return the configuration of the games.

        Raises:
            ConfigError: If an option is invalid.
        """
        options = {"max_turns": MAX_TURNS, "observation": "full", **self.game}
        if options.get("rules") == "competition":
            options = {**{key: value for key, value in options.items() if key != "max_turns"}, **self.game}
        config = GameConfig.from_options(**options)
        if not 0 <= self.seat < config.players:
            raise ConfigError(f"seat: expected an index from 0 to {config.players - 1}, got {self.seat}")
        if not 0.1 <= self.speed <= 50:
            raise ConfigError(f"speed: expected 0.1 to 50 turns a second, got {self.speed}")
        if len(self.opponents) not in (1, config.players - 1):
            raise ConfigError(
                f"opponent: expected one for all {config.players - 1} other players or one for each, got {len(self.opponents)}"
            )
        return config
