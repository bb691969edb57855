"""Defines the stages of a curriculum as data: ``Stage``, ``stages_of``, and ready ones for boards of any size."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generals_env.arguments import as_config, check_integer, is_number, shown
from generals_env.errors import ConfigError, StorageError
from generals_env.learning.rollouts.opponent_mix import POOL, SELF, parse_opponents

__all__ = ["Stage", "board_stages", "size_stages", "stages_of"]

#: Opponents whose strength follows that of the learner: a win rate against them says nothing about the learner's level.
FOLLOWING = (SELF, POOL)


@dataclass(frozen=True)
class Stage:
    """A stage of a curriculum: games, opponents, and when the next one begins.

    Attributes:
        name: Name in the log.
        game: Options of the games that differ from those of the training, such as ``height``, ``width``, ``max_turns`` and
            ``start={"spawn_distance": [2, 5]}``.
        opponents: Opponents with weights, see ``parse_opponents``; None for those of the training.
        counted: Opponents whose games count; empty for all but the learner itself and its past selves.
        rate: Share of games won at which the next stage begins; draws and games that were cut off are not won.
        games: Games that the share is of, at least; see ``Curriculum``.
        back: Share below which the stage before begins again; None for never.
        until: Share of the training after which the next stage begins whatever the share is; None for never.
    """

    name: str
    game: Mapping[str, Any] = field(default_factory=dict)
    opponents: Any = None
    counted: Sequence[str] = ()
    rate: float = 0.6
    games: int = 300
    back: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ConfigError: If one is invalid, or ``back`` is not below ``rate``.
        """
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError(f"name: expected a name of a stage, got {shown(self.name)}")
        if not isinstance(self.game, Mapping):
            raise ConfigError(f"game: expected options of games in stage {self.name!r}, got {shown(self.game)}: pass a dict")
        object.__setattr__(self, "game", dict(self.game))
        if self.opponents is not None:
            object.__setattr__(self, "opponents", parse_opponents(self.opponents))
        if isinstance(self.counted, str) or not all(isinstance(name, str) for name in self.counted):
            raise ConfigError(f"counted: expected names of opponents in stage {self.name!r}, got {shown(self.counted)}")
        object.__setattr__(self, "counted", tuple(self.counted))
        check_integer("games", self.games, 1, 10**9)
        for name in ("rate", "back", "until"):
            value = getattr(self, name)
            if not (value is None and name != "rate") and not (is_number(value) and 0 <= value <= 1):
                raise ConfigError(f"{name}: expected a share from 0 to 1 in stage {self.name!r}, got {shown(value)}")
        if self.back is not None and self.back >= self.rate:
            raise ConfigError(f"back: expected a share below rate ({self.rate}) in stage {self.name!r}, got {self.back}")

    def counted_of(self, opponents: Mapping[str, float]) -> tuple[str, ...]:
        """Return the opponents whose games count.

        Args:
            opponents: Those of the training, for a stage that names none.

        Raises:
            ConfigError: If there is none, or one is no opponent of the stage.
        """
        mix = opponents if self.opponents is None else self.opponents
        for name in self.counted:
            if name not in mix:
                raise ConfigError(
                    f"counted: expected opponents of stage {self.name!r}, {', '.join(mix)}, got {name!r}: add it to them"
                )
        found = tuple(self.counted) or tuple(name for name in mix if name not in FOLLOWING)
        if not found:
            raise ConfigError(
                f"opponents: expected one besides {' and '.join(FOLLOWING)} in stage {self.name!r}, got none: name one of a "
                "given strength, such as expander, whose games count"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return dataclasses.asdict(self) | {"counted": list(self.counted)}


def stages_of(given: Any, board: int) -> tuple[Stage, ...]:
    """Return the stages of a curriculum.

    Args:
        given: ``"ready"`` for ``board_stages(board)``, ``"sizes"`` for ``size_stages(board)``, the path of a JSON file with a
            list of stages, or a sequence of stages or of dicts of their fields.
        board: Rows and columns of the boards of the training.

    Raises:
        ConfigError: If it is none of these, there is no stage, or two have one name.
        StorageError: If the file cannot be read.
    """
    if given == "ready":
        return board_stages(board)
    if given == "sizes":
        return size_stages(board)
    if isinstance(given, (str, Path)):
        try:
            given = json.loads(Path(given).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise StorageError(
                f"curriculum: expected 'ready', 'sizes' or a JSON file with a list of stages, got {str(given)!r} ({error})"
            ) from error
    if not isinstance(given, Sequence) or not given:
        raise ConfigError(f"curriculum: expected one or more stages, got {shown(given)}: pass a list of them")
    stages = tuple(as_config("stage", Stage, stage) for stage in given)
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise ConfigError(f"curriculum: expected each name of a stage once, got {', '.join(names)}: rename some")
    return stages


def board_stages(board: int) -> tuple[Stage, ...]:
    """Return a curriculum that ends with games on ``board`` x ``board``: from near generals to distant ones, on growing boards.

    For learners from random weights without a teacher. The opponents are those of the training. Each stage ends after a share
    of the training at the latest. The turn limit stays that of the training: with a short one the learner settled on surviving
    until the cut-off (74% of the games of the first stage with a limit of 150).
    """
    check_integer("board", board, 4, 64)
    small = {"height": min(board, 8), "width": min(board, 8)}
    near = Stage("near", {**small, "start": {"spawn_distance": [2, 4]}})
    middle = Stage("middle", {**small, "start": {"spawn_distance": [2, 7]}})
    return timed([near, middle, *smaller_boards(board)], board)


def size_stages(board: int) -> tuple[Stage, ...]:
    """Return a curriculum of growing boards that ends with ``board`` x ``board``; up to 8x8 this is its only stage."""
    check_integer("board", board, 4, 64)
    return timed(smaller_boards(board), board)


def smaller_boards(board: int) -> list[Stage]:
    """Return a stage for each size from 8 on below ``board``."""
    return [Stage(f"{size}x{size}", {"height": size, "width": size}) for size in range(8, board, 2)]


def timed(stages: Sequence[Stage], board: int) -> tuple[Stage, ...]:
    """Return the stages, which end one after another by the middle of the training, and then the last one."""
    ending = [dataclasses.replace(stage, until=0.5 * (k + 1) / len(stages)) for k, stage in enumerate(stages)]
    return (*ending, Stage(f"{board}x{board}", {}, rate=1.0))
