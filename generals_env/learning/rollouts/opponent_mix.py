"""Divides the games of a learner among opponents, in shares that weights give: ``parse_opponents``, ``games_of``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generals_env.arguments import is_number
from generals_env.errors import ConfigError

__all__ = ["POOL", "SELF", "games_of", "parse_opponents"]

#: Name of the learner itself: both seats learn.
SELF = "self"

#: Name of the pool of past selves.
POOL = "pool"


def parse_opponents(given: str | Mapping[str, float]) -> dict[str, float]:
    """Return weights by the names of opponents.

    Args:
        given: A dict, or a text: names with weights after ``=``, 1 without, as in ``"expander=3,random"``.

    Raises:
        ConfigError: If there is no name, a name comes twice, or a weight is not a positive number.
    """
    if isinstance(given, str):
        pairs = [part.strip().partition("=")[::2] for part in given.split(",")]
        weights: dict[str, Any] = {name.strip(): as_number(weight) for name, weight in pairs}
        if len(weights) < len(pairs):
            raise ConfigError(f"opponents: expected each name once, got {given!r:.200}: add up its weights")
    elif isinstance(given, Mapping):
        weights = dict(given)
    else:
        raise ConfigError(f"opponents: expected names with weights, got {given!r:.200}: pass for example 'expander=3,random=1'")
    for name, weight in weights.items():
        if not isinstance(name, str) or not name or not is_number(weight) or not 0 < weight < float("inf"):
            raise ConfigError(f"opponents: expected names with positive weights, got {name!r:.80}: {weight!r:.80}")
    if not weights:
        raise ConfigError("opponents: expected one or more names, got none: pass for example 'expander=3,random=1'")
    return {name: float(weight) for name, weight in weights.items()}


def as_number(text: str) -> Any:
    """Return a weight, 1 for none; a text that is no number as it is."""
    try:
        return float(text) if text.strip() else 1.0
    except ValueError:
        return text


def games_of(weights: Mapping[str, float], games: int) -> dict[str, int]:
    """Return how many of the games each opponent gets: in proportion to the weights, and at least one.

    Raises:
        ConfigError: If there are fewer games than opponents.
    """
    if games < len(weights):
        raise ConfigError(f"games: expected at least one for each of {len(weights)} opponents, got {games}")
    total = sum(weights.values())
    counts = {name: max(int(games * weight / total), 1) for name, weight in weights.items()}
    rest = {name: games * weight / total - counts[name] for name, weight in weights.items()}
    while sum(counts.values()) != games:
        more = sum(counts.values()) < games
        able = [name for name in weights if more or counts[name] > 1]
        name = max(able, key=rest.__getitem__) if more else min(able, key=rest.__getitem__)
        counts[name] += 1 if more else -1
        rest[name] += -1 if more else 1
    return counts
