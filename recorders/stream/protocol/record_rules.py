"""Reads the rules and the actions of records: which action spaces they have, and how moves, passes and builds are marked."""

from __future__ import annotations

from generals_env.errors import ConfigError
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.stream.protocol import experience_pb2 as pb

__all__ = ["COMPETITION", "action_of", "flag_of", "has_builds"]

#: Value of the metadata ``rules`` of games with the rules of the competition; records of other games have no such metadata.
COMPETITION = "competition"


def has_builds(record: pb.Experience) -> bool:
    """Return whether the rules of a record are those of the competition; raise ``ConfigError`` for unknown rules."""
    value = record.metadata.get("rules", "")
    if value not in ("", COMPETITION):
        raise ConfigError(f"metadata: expected 'rules' to be {COMPETITION!r} or left out, got {value[:80]!r}")
    return bool(value)


def action_of(record: pb.Experience, shape: tuple[int, int]) -> int:
    """Return the action index of a record in the layout of the package.

    Args:
        record: The record.
        shape: H and W.

    Raises:
        ConfigError: If the action is not one of the rules, or its marks contradict each other.
    """
    action: int = record.action
    tiles, builds = shape[0] * shape[1], has_builds(record)
    half, passes = flag_of(record, "half"), flag_of(record, "pass")
    if "build" in record.metadata:
        if not builds or half or passes or action != 0:
            raise ConfigError(
                f"action: expected 0 with build, rules={COMPETITION}, and neither half nor pass, got {action}: "
                "send the row and column of the tile as build"
            )
        return 8 * tiles + 1 + built_tile(record.metadata["build"], shape)
    last = Recipe(builds=builds).actions(shape) - 1
    if passes and (half or action not in (-1, 0, 8 * tiles)):
        raise ConfigError(f"action: expected 0, -1 or {8 * tiles} with pass, and no half, got {action}")
    if not -1 <= action <= last or (half and not 0 <= action < 4 * tiles):
        raise ConfigError(f"action: expected -1 to {last}, and 0 to {4 * tiles - 1} with half, got {action}")
    if passes or action == -1:
        return 8 * tiles
    return action + 4 * tiles if half else action


def built_tile(text: str, shape: tuple[int, int]) -> int:
    """Return the tile of ``row,column``; raise ``ConfigError`` if it is not on the board."""
    numbers = text.split(",")
    fits = len(numbers) == 2 and all(part.isascii() and part.isdigit() and len(part) < 5 for part in numbers)
    if not fits or int(numbers[0]) >= shape[0] or int(numbers[1]) >= shape[1]:
        raise ConfigError(f"metadata: expected 'build' to be row,column on a board of {shape[0]}x{shape[1]}, got {text[:80]!r}")
    return int(numbers[0]) * shape[1] + int(numbers[1])


def flag_of(record: pb.Experience, name: str) -> bool:
    """Return whether a flag is set in the metadata of a record; raise ``ConfigError`` for values other than 1."""
    value = record.metadata.get(name, "")
    if value not in ("", "1"):
        raise ConfigError(f"metadata: expected {name!r} to be '1' or left out, got {value[:80]!r}")
    return bool(value)
