"""Implements a hash set of 64-bit numbers with a capacity: when it is full, it evicts the oldest number for a new one.

It is a hash table with linear probing, and a ring buffer with the order of insertion. Deletion leaves no tombstones: the
numbers after the deleted one are moved back (Knuth, TAOCP 3, 6.4, algorithm R), so that probe sequences stay short.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel

__all__ = ["EMPTY", "HashSet", "Words", "add_new", "empty_hash_set", "find", "forget_newest", "in_order"]

Words = npt.NDArray[np.uint64]

#: An empty slot; never a member of the set.
EMPTY = np.uint64(0)

# Indices of ``HashSet.state``.
COUNT, NEXT = range(2)


class HashSet(NamedTuple):
    """Up to ``capacity`` numbers other than ``EMPTY``.

    Attributes:
        table: (a power of two, at least twice the capacity) uint64, ``EMPTY`` in free slots.
        ring: (capacity,) uint64, the numbers in the order in which they were added.
        state: (2,) int64, number of members, and index in the ring of the next one added.
    """

    table: Words
    ring: Words
    state: npt.NDArray[np.int64]


def empty_hash_set(capacity: int) -> HashSet:
    """Return an empty set; its memory, at most 40 bytes a number, is only used as it fills."""
    size = 1 << max(2 * capacity - 1, 1).bit_length()
    return HashSet(np.zeros(size, np.uint64), np.zeros(capacity, np.uint64), np.zeros(2, np.int64))


@inlined
def home(table: Words, word: np.uint64) -> int:
    """Return the slot where the search for ``word`` begins: its low bits, as words are hashes already."""
    return np.int64(word & np.uint64(table.shape[0] - 1))


@inlined
def slot_of(table: Words, word: np.uint64) -> int:
    """Return the slot that holds ``word``, or the empty one where it belongs."""
    last = table.shape[0] - 1
    slot = home(table, word)
    while table[slot] not in (EMPTY, word):
        slot = (slot + 1) & last
    return slot


@inlined
def remove(table: Words, word: np.uint64) -> None:
    """Delete ``word``, and move back the words that a search would not reach any more."""
    last = table.shape[0] - 1
    hole = slot_of(table, word)
    if table[hole] == EMPTY:
        return
    slot = (hole + 1) & last
    while table[slot] != EMPTY:
        # A word may move to the hole unless the search for it begins after the hole.
        if ((slot - home(table, table[slot])) & last) >= ((slot - hole) & last):
            table[hole] = table[slot]
            hole = slot
        slot = (slot + 1) & last
    table[hole] = EMPTY


@kernel
def find(members: HashSet, words: Words, found: npt.NDArray[np.bool_]) -> None:
    """Write whether each of ``words`` (n,) is in the set."""
    for i in range(words.shape[0]):
        found[i] = members.table[slot_of(members.table, words[i])] == words[i]


@kernel
def add_new(members: HashSet, words: Words, new: npt.NDArray[np.bool_], forgotten: Words) -> int:
    """Add the words that are not in the set; evict the oldest ones if it is full.

    Args:
        members: The set, in and out.
        words: (n,) uint64, none of them ``EMPTY``.
        new: (n,) bool, out: whether each was added.
        forgotten: (n,) uint64, out: the word evicted for each added one, in order, or ``EMPTY``.

    Returns:
        Number of words added.
    """
    table, ring, state = members.table, members.ring, members.state
    capacity = ring.shape[0]
    added = 0
    for i in range(words.shape[0]):
        word = words[i]
        slot = slot_of(table, word)
        new[i] = table[slot] == EMPTY
        if not new[i]:
            continue
        forgotten[added] = EMPTY
        if state[COUNT] == capacity:
            forgotten[added] = ring[state[NEXT]]
            remove(table, ring[state[NEXT]])
            slot = slot_of(table, word)
        else:
            state[COUNT] += 1
        table[slot] = word
        ring[state[NEXT]] = word
        state[NEXT] = (state[NEXT] + 1) % capacity
        added += 1
    return added


@kernel
def forget_newest(members: HashSet, added: int, forgotten: Words) -> None:
    """Undo the last ``add_new``, which returned ``added`` and wrote ``forgotten``."""
    table, ring, state = members.table, members.ring, members.state
    for i in range(added - 1, -1, -1):
        state[NEXT] = (state[NEXT] - 1) % ring.shape[0]
        remove(table, ring[state[NEXT]])
        ring[state[NEXT]] = forgotten[i]
        if forgotten[i] == EMPTY:
            state[COUNT] -= 1
        else:
            table[slot_of(table, forgotten[i])] = forgotten[i]


def in_order(members: HashSet) -> Words:
    """Return the members (count,), the oldest first."""
    count, following = members.state.tolist()
    return np.roll(members.ring, -following)[len(members.ring) - count :]
