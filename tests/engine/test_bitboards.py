"""Tests operations on bits against loops over Python integers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from generals_env.engine import bitboards
from generals_env.engine.jit import kernel

WORDS = st.integers(1, 2**64 - 1)


@kernel
def nth_bit(word: np.uint64, k: int) -> int:
    return bitboards.nth_bit(word, k)


@kernel
def tile_at(rows: bitboards.Rows, k: int, width: int) -> int:
    return bitboards.tile_at(rows, k, width)


@settings(deadline=None)
@given(WORDS)
def test_nth_bit_is_the_kth_bit_of_the_word(word: int) -> None:
    places = [column for column in range(64) if word >> column & 1]
    assert [nth_bit(np.uint64(word), k) for k in range(len(places))] == places


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**20 - 1), min_size=1, max_size=20).filter(any))
def test_tile_at_numbers_tiles_row_by_row(rows: list[int]) -> None:
    tiles = [row * 20 + column for row, word in enumerate(rows) for column in range(20) if word >> column & 1]
    array = np.array(rows, np.uint64)
    assert [tile_at(array, k, 20) for k in range(len(tiles))] == tiles
