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
TOPS = np.uint64(0x8080808080808080)

#: (256, 8) uint8, the position of the k-th bit of each byte.
BIT_OF_BYTE = np.array([([i for i in range(8) if byte >> i & 1] + [0] * 8)[:8] for byte in range(256)], np.uint8)


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
def nth_bit(word: np.uint64, k: int) -> int:
    """Return the column of the k-th bit of a word, counted from 0, without branches on the word.

    Vigna, "Broadword implementation of rank/select queries", WEA 2008: the byte from sums over bytes, the bit from a table.
    """
    sums = word - ((word >> ONE) & PAIRS)
    sums = (sums & NIBBLES) + ((sums >> np.uint64(2)) & NIBBLES)
    sums = ((sums + (sums >> np.uint64(4))) & BYTES) * SUM  # byte i holds the number of bits in bytes 0 to i
    rank = np.uint64(k)
    shift = np.uint64(8 * count_bits(((rank * SUM | TOPS) - sums) & TOPS))  # past bytes that end before the bit
    rank -= (sums << np.uint64(8)) >> shift & np.uint64(255)
    return np.int64(shift) + np.int64(BIT_OF_BYTE[(word >> shift) & np.uint64(255), rank])


@inlined
def tile_at(rows: Rows, k: int, width: int) -> int:
    """Return the k-th tile of the set, in the order of tiles."""
    row = 0
    before = 0
    total = 0
    for i in range(rows.shape[0]):  # all rows: an early end cannot be predicted
        total += count_bits(rows[i])
        if total <= k:
            row += 1
            before = total
    return row * width + nth_bit(rows[row], k - before)


@inlined
def spread(word: np.uint64, columns: int, wraps: bool) -> np.uint64:
    """Return the word with the neighbours of its bits to the left and right, within ``columns``."""
    wide = word | (word << ONE) | (word >> ONE)
    if wraps:
        last = np.uint64(columns - 1)
        wide |= (word >> last) | ((word & ONE) << last)
    return np.uint64(wide & all_below(columns))
