"""Creates the store that the ``store`` option of a replay buffer names, within the buffer's limits."""

from __future__ import annotations

from generals_env.engine.packed.packing import ENTRY
from generals_env.engine.packed.recording import EXPERIENCE
from generals_env.recorders.buffers.stores.growable_tables import row_bytes
from generals_env.recorders.buffers.stores.store import Store
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["STORES", "create_store", "min_experience_bytes"]

#: Values of the option.
STORES = ("boards", "zstd", "games")


def create_store(kind: str, like: ExperienceBatch, capacity: int, max_bytes: int | None, first: int) -> Store:
    """Return an empty store.

    Args:
        kind: One of ``STORES``.
        like: Any batch of the kind that it will store.
        capacity: Maximum number of experiences.
        max_bytes: Maximum memory; None for no limit.
        first: Key of the first experience.
    """
    # Only the store that is used is imported: each brings kernels or a codec with it.
    if kind == "zstd":
        from generals_env.recorders.buffers.stores.zstd_store import ZstdStore

        return ZstdStore(like, capacity, max_bytes, first)
    if kind == "games":
        from generals_env.recorders.buffers.stores.game_store import GameStore

        return GameStore(like, capacity, max_bytes, first)
    from generals_env.recorders.buffers.stores.board_store import BoardStore

    return BoardStore(like, capacity, max_bytes, first)


def min_experience_bytes(kind: str, like: ExperienceBatch) -> int:
    """Return the minimum size of an experience in a store: that where all players share every board."""
    tiles: int = like.boards.tiles.shape[1]
    players = like.players
    board: int = 2 * tiles * (players + 1 if like.recipe.memory else 1)
    if kind == "zstd":
        return 8
    if kind == "games":
        return 24 + (16 + board // 32) // players
    shared = (board + ENTRY.itemsize + 8) * 33 // (32 * players)  # a ring allocates a 64th more boards than turns
    size: int = EXPERIENCE.itemsize + 8 + shared
    return size if like.dense is None else size + 2 * row_bytes(like.dense.observations)
