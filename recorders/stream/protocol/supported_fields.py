"""Which fields of a submitted record can be kept: the others are refused by name, never dropped in silence."""

from __future__ import annotations

from generals_env.recorders.stream.protocol import experience_pb2 as pb

__all__ = ["name_of", "not_kept"]

#: Keys of a record's metadata that columns of an experience hold, and ``missed``, which tells of the stream that it came from.
KEPT = ("half", "illegal", "missed", "pass", "steps")


def name_of(record: pb.Experience) -> str:
    """Return the id that a record gets."""
    return f"{record.game_id}-{record.player_id}-{record.turn}"


def not_kept(record: pb.Experience) -> str | None:
    """Return why a field of a record cannot be kept, None if all can."""
    if record.experience_id not in ("", name_of(record)):
        return (
            f"experience_id: expected none, or {name_of(record)[:200]!r} (game, player and turn), got"
            f" {record.experience_id[:200]!r}; ids of other forms are not kept"
        )
    others = sorted(set(record.metadata) - set(KEPT))
    if others:
        return f"metadata: expected no keys but {', '.join(KEPT)}, got {others!r:.200}; others are not kept"
    return None
