"""Checks that each field of a submitted record can be stored; others are rejected by name instead of being dropped."""

from __future__ import annotations

from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.provenance import MAX_VALUE, PROVENANCE_KEYS

__all__ = ["record_id", "unsupported_field"]

#: Keys of a record's metadata: those with a column of ``EXPERIENCE``, ``rules``, ``missed``, which a stream adds to its
#: records, and where the record comes from.
SUPPORTED_METADATA = ("build", "half", "illegal", "missed", "pass", "rules", "steps", *PROVENANCE_KEYS)


def record_id(record: pb.Experience) -> str:
    """Return the id of a record, made of game, player and turn."""
    return f"{record.game_id}-{record.player_id}-{record.turn}"


def unsupported_field(record: pb.Experience) -> str | None:
    """Return an error if a field of a record cannot be stored, None if all can."""
    if record.experience_id not in ("", record_id(record)):
        return (
            f"experience_id: expected none, or {record_id(record)[:200]!r} (game, player and turn), got"
            f" {record.experience_id[:200]!r}; ids of other forms are not stored: leave it empty"
        )
    others = sorted(set(record.metadata) - set(SUPPORTED_METADATA))
    if others:
        return (
            f"metadata: expected no keys but {', '.join(SUPPORTED_METADATA)}, got {others!r:.200};"
            " others are not stored: leave them out"
        )
    long = sorted(name for name, value in record.metadata.items() if len(value) > MAX_VALUE)
    if long:
        return f"metadata: expected values of at most {MAX_VALUE} characters, got longer ones of {long!r:.200}: shorten them"
    return None
