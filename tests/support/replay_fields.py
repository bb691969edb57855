"""Reads the recorded games of the repository as the fields of replays."""

from __future__ import annotations

import gzip
import json
from typing import Any

from support.paths import DATA

#: Names of games of people and of the package.
GAMES = ("B5--zeFUe", "cqivEp6Ad", "duel", "duel_tall", "eight", "old", "teams", "three", "torus")


def read_fields(name: str) -> dict[str, Any]:
    """Return the fields of a game of the repository."""
    fields: dict[str, Any] = json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
    return fields
