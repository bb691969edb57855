"""Validates the fields of a replay and converts lists and whole numbers from JSON, numpy and pandas.

Replays are shared as JSON and as tables. pandas and ``datasets`` return a row of a table as numpy scalars, arrays and arrays of
arrays, with NaN for a missing field, and a list of whole numbers with gaps as an array of floats; all of these are accepted.
Otherwise a float is not a whole number, and a bool never is.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import ReplayError

__all__ = [
    "POSITIONS",
    "REQUIRED",
    "UNREAD",
    "is_missing",
    "listed",
    "named",
    "plain",
    "raw_fields",
    "records",
    "text",
    "whole",
    "wholes",
]

#: Names of the fields that are played, by their position in the format.
POSITIONS = {
    0: "version",
    1: "id",
    2: "mapWidth",
    3: "mapHeight",
    6: "cities",
    7: "cityArmies",
    8: "generals",
    9: "mountains",
    10: "moves",
    11: "afks",
    12: "teams",
    14: "neutrals",
    15: "neutralArmies",
    16: "swamps",
    19: "lights",
    21: "modifiers",
    22: "observatories",
    23: "lookouts",
    24: "deserts",
    28: "tunnels",
    34: "strongholds",
}

#: Names of the fields that are kept and written again, but not read, by their position in the format.
UNREAD = {
    4: "usernames",
    5: "stars",
    13: "map_title",
    17: "chat",
    18: "playerColors",
    20: "settings",
    25: "playerTransforms",
    26: "pings",
    27: "generalTrades",
    29: "tunnelLimits",
    30: "chessClockTimingsByMove",
    31: "strongholdDensity",
    32: "strongholdStrengthMin",
    33: "strongholdStrengthMax",
    35: "strongholdStrengths",
    36: "chessClockMoveExecutionTimestamps",
}

#: Fields that replays of all versions have; without one of them the game would be played differently. Other fields came with
#: later versions, or tools omit them if they are empty.
REQUIRED = ("version", "mapWidth", "mapHeight", "cities", "cityArmies", "generals", "mountains", "moves")

#: What the lists of the format hold, by name; all others hold tile numbers.
LISTED = {
    "cityArmies": "armies",
    "neutralArmies": "armies",
    "moves": "moves",
    "afks": "leaving players",
    "teams": "team numbers",
    "modifiers": "modifier numbers",
}

MAX_ITEMS = 2_000_000

Wholes = npt.NDArray[np.int64]


def raw_fields(fields: Any) -> dict[int, Any]:
    """Return the fields of a replay by position, also those that are not read; without those that have no position.

    Args:
        fields: A mapping, a row of pandas, a named tuple, or a sequence or array in the order of the format.

    Raises:
        ReplayError: If ``fields`` is not one of these.
    """
    if hasattr(fields, "_asdict"):  # a named tuple
        fields = fields._asdict()
    elif not isinstance(fields, Mapping) and hasattr(fields, "keys"):  # a row of pandas
        fields = dict(fields)
    if isinstance(fields, Mapping):
        return {position: fields[name] for position, name in (POSITIONS | UNREAD).items() if name in fields}
    row = plain(fields)
    if not is_list(row):
        raise ReplayError(f"replay: expected named fields or a list, got {type(fields).__name__}: pass the fields of one game")
    return dict(enumerate(row))


def named(raw: Mapping[int, Any], where: str) -> dict[str, Any]:
    """Return the fields of a replay that are played, by name, without missing ones.

    Args:
        raw: The fields by position.
        where: What the fields are in, for the error.

    Raises:
        ReplayError: If a required field is missing.
    """
    known = {name: raw[position] for position, name in POSITIONS.items() if position in raw}
    for name in REQUIRED:
        if name not in known:
            position = next(position for position, other in POSITIONS.items() if other == name)
            what = "a whole number" if name in REQUIRED[:3] else "a list"
            raise ReplayError(f"{name}: expected {what}, field {position} of every replay, got {where}: add it")
    return {name: value for name, value in known.items() if name in REQUIRED or not is_missing(value)}


def is_missing(value: Any) -> bool:
    """Return whether a value marks a missing field: None, NaN, or pandas' NA."""
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or value is getattr(sys.modules.get("pandas"), "NA", None)


def is_list(value: Any) -> bool:
    """Return whether a value is a sequence other than text or bytes."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def plain(value: Any) -> Any:
    """Return an array or a scalar of any library as a Python list or scalar, and anything else as is."""
    if not hasattr(value, "tolist"):
        return value
    value = value.tolist()
    return without_floats(value) if isinstance(value, list) else value


def without_floats(value: Any) -> Any:
    """Convert integral floats back to integers and NaN to None, as gaps turn an integer column into floats."""
    if isinstance(value, list):
        return [without_floats(item) for item in value]
    if isinstance(value, float):
        return None if np.isnan(value) else int(value) if value.is_integer() else value
    return value


def whole(name: str, value: Any, minimum: int, maximum: int) -> int:
    """Return ``value`` as an int if it is a whole number in range.

    Raises:
        ReplayError: If it is not.
    """
    number = plain(value)
    if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number <= maximum:
        raise ReplayError(f"{name}: expected a whole number from {minimum} to {maximum}, got {value!r:.80}")
    return number


def text(name: str, fields: Mapping[str, Any]) -> str:
    """Return a field that is text or a whole number, as text; a missing field is empty text.

    Raises:
        ReplayError: If it is neither.
    """
    value = plain(fields.get(name, ""))
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ReplayError(f"{name}: expected text, got {value!r:.80}")
    try:
        str(value).encode()
    except UnicodeEncodeError as error:  # an unpaired surrogate
        raise ReplayError(f"{name}: expected text, got {value!r:.80} ({error.reason})") from error
    return str(value)


def listed(name: str, fields: Mapping[str, Any]) -> list[Any]:
    """Return a field that is a list; a missing optional field is an empty list.

    Raises:
        ReplayError: If it is not a list.
    """
    if name not in fields and name not in REQUIRED:
        return []
    value = fields[name]
    items = value if isinstance(value, list) else plain(value)
    held = LISTED.get(name, "tile numbers") if name in POSITIONS.values() else "whole numbers"
    if not is_list(items):
        remedy = ": write [] where there are none" if is_missing(value) else ""
        raise ReplayError(f"{name}: expected a list of {held}, got {value!r:.80}{remedy}")
    if len(items) > MAX_ITEMS:
        raise ReplayError(f"{name}: expected at most {MAX_ITEMS} {held}, got {len(items)}")
    return items if isinstance(items, list) else list(items)


def wholes(name: str, fields: Mapping[str, Any], minimum: int, maximum: int) -> Wholes:
    """Return a field that is a list of whole numbers in range, (n,) int64.

    Raises:
        ReplayError: If it is not.
    """
    value = fields.get(name)
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.ndim == 1 and len(value) <= MAX_ITEMS:
        if ((value >= minimum) & (value <= maximum)).all():  # as from a table
            return value.astype(np.int64)
    items = listed(name, fields)
    if set(map(type, items)) <= {int}:  # as from JSON: validate all at once
        table = as_array(items, 1)
        if table is not None and ((table >= minimum) & (table <= maximum)).all():
            return table[:, 0]
    return np.array([whole(name, item, minimum, maximum) for item in items], np.int64)


def records(name: str, fields: Mapping[str, Any], limits: Mapping[str, int], flag: str = "") -> npt.NDArray[np.int32]:
    """Return a field that is a list of records as an array of whole numbers, (n, len(limits)) int32.

    A record is a list, a tuple, an array, or a mapping with the names of the columns; a mapping of columns is accepted, too.

    Args:
        name: Name of the field.
        fields: All fields.
        limits: Exclusive upper limit of each column, by its name.
        flag: Name of a column that may hold bools instead.

    Raises:
        ReplayError: If the field is not such a list.
    """
    keys = tuple(limits)
    value = fields.get(name)
    if (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "iu"
        and value.shape[1:] == (len(keys),)
        and len(value) <= MAX_ITEMS
    ):
        if ((value >= 0) & (value < np.array(list(limits.values())))).all():  # as from a table
            return value.astype(np.int32)
    if isinstance(value, Mapping) and all(key in value for key in keys):
        titles = {key: f"{name}: {key}" for key in keys}
        columns = [listed(title, {title: value[key]}) for key, title in titles.items()]
        if len(set(map(len, columns))) > 1:
            raise ReplayError(
                f"{name}: expected columns of one length, got {[len(column) for column in columns]}: complete them"
            )
        items: list[Any] = list(zip(*columns, strict=True))
    else:
        items = listed(name, fields)
    rows = [row if isinstance(row, list) else as_row(row, keys) for row in items]
    if set(map(len, rows)) <= {len(keys)}:
        flat = list(chain.from_iterable(rows))
        kinds = {key: set(map(type, flat[column :: len(keys)])) for column, key in enumerate(keys)}
        if all(found <= ({int, bool} if key == flag else {int}) for key, found in kinds.items()):
            table = as_array(flat, len(keys))
            if table is not None and ((table >= 0) & (table < np.array(list(limits.values())))).all():
                return table.astype(np.int32)
    # Not all as from JSON: convert one record after another, and name the invalid one.
    checked = []
    for number, (record, row) in enumerate(zip(items, rows, strict=True)):
        if len(row) != len(keys):
            raise ReplayError(f"{name}: expected records of {', '.join(keys)}, got {record!r:.80} (number {number})")
        numbers = [unflagged(item) if key == flag else item for key, item in zip(keys, row, strict=True)]
        checked.append([whole(f"{name}: {key}", item, 0, limits[key] - 1) for key, item in zip(keys, numbers, strict=True)])
    return np.array(checked, np.int32).reshape(-1, len(keys))


def unflagged(value: Any) -> Any:
    """Return a bool as 1 or 0, and anything else as is."""
    flag = plain(value)
    return int(flag) if isinstance(flag, bool) else value


def as_row(record: Any, keys: Sequence[str]) -> list[Any]:
    """Return a mapping, tuple or array of a record as a list; an empty list if it is not a record."""
    if isinstance(record, Mapping):
        return [record.get(key) for key in keys]
    row = plain(record)
    return list(row) if is_list(row) else []


def as_array(numbers: Sequence[int], columns: int) -> Wholes | None:
    """Return whole numbers as an array, (n, columns) int64; None if a number exceeds 64 bits."""
    try:
        return np.array(numbers, np.int64).reshape(-1, columns)
    except OverflowError:
        return None
