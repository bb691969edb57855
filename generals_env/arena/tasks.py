"""Defines the versioned tasks: fixed games against fixed opponents on a fixed Elo scale, so that results can be compared.

A task is known by its name with its version, such as ``generals-8x8-v0``. Whatever would change its results raises the version:
board, rules, maps, opponents and how they play, and the ratings of the opponents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from generals_env.arena.game_kind import game_config
from generals_env.arena.task_scales import SCALES
from generals_env.config import GameConfig
from generals_env.errors import ConfigError

__all__ = ["TASKS", "Task", "find_task"]

#: Plays in each task, but has no rating in it: it wins no game against the others, so that any low rating would fit.
UNRATED = ("random",)

RATED = ("hunter:easy", "expander", "hunter:medium", "hunter")


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: Name with its version.
        options: Options of the games, as of ``generals_env.make``.
        opponents: Names of the opponents, from the weakest on.
        games: Games against each opponent: both seats on each of ``games / 2`` maps.
        seed: Seed of the maps, see ``arena.game_kind.map_seed``.
    """

    name: str
    options: tuple[tuple[str, Any], ...]
    opponents: tuple[str, ...] = UNRATED + RATED
    games: int = 200
    seed: int = 20261129

    @property
    def scale(self) -> dict[str, float]:
        """Elo ratings of the opponents that have one; ``expander`` has 1000."""
        return dict(SCALES[self.name])

    @property
    def config(self) -> GameConfig:
        """The options of the games."""
        return game_config(**dict(self.options))

    def to_dict(self) -> dict[str, Any]:
        """Return the task for JSON."""
        fields = {"name": self.name, "options": dict(self.options), "opponents": list(self.opponents)}
        return fields | {"games_per_opponent": self.games, "seed": self.seed, "scale": self.scale}


def square(name: str, side: int) -> Task:
    """Return a task on square boards with the rules of the site as of version 18 of its replays."""
    return Task(name, (("rules", "v18"), ("height", side), ("width", side), ("max_turns", 1000)))


#: The tasks by name. The games of the competition's task are on its boards of 18 to 21 rows and columns.
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        square("generals-8x8-v0", 8),
        square("generals-12x12-v0", 12),
        square("generals-20x20-v0", 20),
        Task("generals-competition-v0", (("rules", "competition"), ("max_turns", 1200))),
    )
}


def find_task(name: str) -> Task:
    """Return the task of a name.

    Raises:
        ConfigError: If this version of the package has no such task.
    """
    if name not in TASKS:
        family = str(name).rpartition("-v")[0]
        same = [known for known in TASKS if known.rpartition("-v")[0] == family]
        hint = f"; this version of the package has {same[0]!r}: results of other versions are not comparable" if same else ""
        raise ConfigError(f"task: expected one of {', '.join(TASKS)}, got {name!r:.200}{hint}")
    return TASKS[name]
