"""Writes where an experience comes from into the metadata of its record, under the keys of the original, and reads it back.

A batch has this once, in its own metadata, for all its experiences; a record has it for its player.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from generals_env.recorders.stream.protocol import experience_pb2 as pb

__all__ = ["MAX_VALUE", "PROVENANCE_KEYS", "SUBMITTED", "common_provenance", "provenance_of", "provenance_suffix"]

#: Keys of a record's metadata: version of the program that played, name and version of the player's policy, the seed that
#: ``reset`` was given, and the hash of the weights of the reward.
PROVENANCE_KEYS = ("collector_version", "policy", "policy_version", "seed", "reward_hash")

#: Key of a batch's metadata: what submitted records had, by player.
SUBMITTED = "submitted"

MAX_VALUE = 256  # characters: each record has them


def provenance_of(metadata: Mapping[str, Any], player: int) -> dict[str, str]:
    """Return the metadata of a player's records; unknown values, lists of seeds and values of over 256 characters are left out.

    Args:
        metadata: Of the batch.
        player: Index of the player.
    """
    submitted = metadata.get(SUBMITTED)
    if isinstance(submitted, dict):
        own = submitted.get(str(player))
        return {name: str(own[name]) for name in PROVENANCE_KEYS if name in own} if isinstance(own, dict) else {}
    values = {
        "collector_version": metadata.get("generals_env"),
        "policy": own_value(metadata.get("policies"), player),
        "policy_version": own_value(metadata.get("policy_versions"), player),
        "seed": None if isinstance(metadata.get("seed"), list) else metadata.get("seed"),
        "reward_hash": metadata.get("reward_hash"),
    }
    texts = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items() if value is not None
    }
    return {name: text for name, text in texts.items() if len(text) <= MAX_VALUE}


def own_value(values: Any, player: int) -> Any:
    """Return the value of a player out of a list with one for each; None without."""
    return values[player] if isinstance(values, (list, tuple)) and player < len(values) else None


def provenance_suffix(metadata: Mapping[str, Any], player: int) -> bytes:
    """Return the bytes that, appended to a serialized record of a player, add this to its metadata."""
    data: bytes = pb.Experience(metadata=provenance_of(metadata, player)).SerializeToString(deterministic=True)
    return data


def common_provenance(records: Iterable[pb.Experience]) -> dict[str, Any]:
    """Return metadata of a batch with what the records of each player have in common; empty if that is nothing."""
    found: dict[str, dict[str, str]] = {}
    for record in records:
        own = {name: record.metadata[name] for name in PROVENANCE_KEYS if name in record.metadata}
        before = found.setdefault(str(record.player_id), own)
        found[str(record.player_id)] = {name: value for name, value in before.items() if own.get(name) == value}
    return {SUBMITTED: found} if any(found.values()) else {}
