"""Operates on sets of tiles as bits: one 64-bit word a row of the board, bit c for column c."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined

__all__ = [
    "NOTHING",
    "ONE",
    "Rows",
    "all_below",
    "bit_at",
    "count_all",
    "count_bits",
    "has_bit",
    "lowest_bit",
    "spread",
    "tile_at",
]

#: (H,) uint64, a set of tiles.
Rows = npt.NDArray[np.uint64]

NOTHING = np.uint64(0)
ONE = np.uint64(1)

# Every second bit, every second pair, every second nibble, and a one in every byte.
PAIRS = np.uint64(0x5555555555555555)
NIBBLES = np.uint64(0x3333333333333333)
BYTES = np.uint64(0x0F0F0F0F0F0F0F0F)
SUM = np.uint64(0x0101010101010101)


@inlined
def bit_at(column: int) -> np.uint64:
    """Return the word with only this bit set."""
    return np.uint64(ONE << np.uint64(column))


@inlined
def has_bit(word: np.uint64, column: int) -> bool:
    """Return whether the bit is set."""
    return (word >> np.uint64(column)) & ONE != NOTHING


@inlined
def all_below(columns: int) -> np.uint64:
    """Return the word with the first ``columns`` bits set, 1 to 64."""
    return np.uint64(~NOTHING >> np.uint64(64 - columns))


@inlined
def count_bits(word: np.uint64) -> int:
    """Return the number of bits set (LLVM compiles it to one instruction)."""
    word = word - ((word >> np.uint64(1)) & PAIRS)
    word = (word & NIBBLES) + ((word >> np.uint64(2)) & NIBBLES)
    word = (word + (word >> np.uint64(4))) & BYTES
    return np.int64((word * SUM) >> np.uint64(56))


@inlined
def lowest_bit(word: np.uint64) -> int:
    """Return the column of the lowest bit of a word that is not zero."""
    return count_bits(~word & (word - ONE))


@inlined
def count_all(rows: Rows) -> int:
    """Return the number of tiles in the set."""
    total = 0
    for row in range(rows.shape[0]):
        total += count_bits(rows[row])
    return total


@inlined
def tile_at(rows: Rows, k: int, width: int) -> int:
    """Return the k-th tile of the set, in the order of tiles."""
    row = 0
    count = count_bits(rows[0])
    while k >= count:
        k -= count
        row += 1
        count = count_bits(rows[row])
    word = rows[row]
    for _ in range(k):
        word &= word - ONE
    return row * width + lowest_bit(word)


@inlined
def spread(word: np.uint64, columns: int, wraps: bool) -> np.uint64:
    """Return the word with the neighbours of its bits to the left and right, within ``columns``."""
    wide = word | (word << ONE) | (word >> ONE)
    if wraps:
        last = np.uint64(columns - 1)
        wide |= (word >> last) | ((word & ONE) << last)
    return np.uint64(wide & all_below(columns))
