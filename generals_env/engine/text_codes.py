"""Writes moves as text and compresses text as pieroxy's lz-string does, which takes most of the time of writing a replay.

LZ-string is LZ78 over UTF-16 code units. Codes are packed least significant bit first, with as many bits as the newest code
needs; a unit that occurs for the first time is a mark and the unit itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.jit import inlined, kernel

__all__ = ["MAX_CODES", "compress_units", "write_moves"]

NEW_BYTE, NEW_WORD, END, FIRST = 0, 1, 2, 3  # codes of the marks, and the first code of a text

#: Number of codes of a text; a table entry is a code, the code of the text without its last unit, and this unit.
CODE_BITS = 23
MAX_CODES = 1 << CODE_BITS

MIXER = np.uint64(0x9E3779B97F4A7C15)

COMMA, OPENING, CLOSING, ZERO = 44, 91, 93, 48


@inlined
def put_number(units: npt.NDArray[np.uint16], at: int, number: int) -> int:
    """Write a number from 0 on in decimal digits; return the place after it."""
    digits = 1
    rest = number // 10
    while rest > 0:
        digits += 1
        rest //= 10
    rest = number
    for place in range(at + digits - 1, at - 1, -1):
        units[place] = ZERO + rest % 10
        rest //= 10
    return at + digits


@kernel
def write_moves(moves: npt.NDArray[np.int32]) -> npt.NDArray[np.uint16]:
    """Return a list of records as JSON without spaces, in UTF-16 code units.

    Args:
        moves: (M, 5) int32, no number below 0.
    """
    count, columns = moves.shape
    units = np.empty(count * (columns * 11 + 2) + 2, np.uint16)
    units[0] = OPENING
    at = 1
    for row in range(count):
        if row > 0:
            units[at] = COMMA
            at += 1
        units[at] = OPENING
        at += 1
        for column in range(columns):
            if column > 0:
                units[at] = COMMA
                at += 1
            at = put_number(units, at, np.int64(moves[row, column]))
        units[at] = CLOSING
        at += 1
    units[at] = CLOSING
    return units[: at + 1]


@inlined
def reversed_bits(byte: int) -> int:
    """Return a byte with its bits in reverse order."""
    byte = (byte & 0xF0) >> 4 | (byte & 0x0F) << 4
    byte = (byte & 0xCC) >> 2 | (byte & 0x33) << 2
    return (byte & 0xAA) >> 1 | (byte & 0x55) << 1


@inlined
def put_bits(out: npt.NDArray[np.uint8], state: npt.NDArray[np.int64], value: int, width: int) -> None:
    """Append a code; ``state`` is the bits that are not written yet, their number, and the number of bytes written."""
    state[0] |= value << state[1]
    state[1] += width
    while state[1] >= 8:
        out[state[2]] = reversed_bits(state[0] & 0xFF)
        state[2] += 1
        state[0] >>= 8
        state[1] -= 8


@kernel
def compress_units(units: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Return the compressed text, as ``compressToUint8Array`` does; empty if it has more than ``MAX_CODES`` codes.

    Args:
        units: (n,) uint16, UTF-16 code units.
    """
    bits = 4
    while 1 << bits < 2 * units.shape[0] + 2:
        bits += 1
    table = np.zeros(1 << bits, np.uint64)
    shift, low = np.uint64(64 - bits), (1 << bits) - 1
    own_codes = np.zeros(256 if units.shape[0] == 0 or units.max() < 256 else 2**16, np.int32)  # of texts of one unit
    pending = np.zeros(2 * units.shape[0] + FIRST, np.uint8)  # 1: the unit of this code has not been written yet
    out = np.empty(6 * units.shape[0] + 16, np.uint8)  # a code and a unit have at most 40 bits
    state = np.zeros(3, np.int64)
    size, width, left = np.int64(FIRST), np.int64(2), np.int64(2)
    code, first = np.int64(0), np.int64(0)  # of the text so far, 0 for none, and its first unit
    for number in range(units.shape[0] + 1):
        ends = number == units.shape[0]
        unit = np.int64(0) if ends else np.int64(units[number])
        own, slot, key = np.int64(0), 0, np.uint64(0)
        if not ends:
            own = np.int64(own_codes[unit])
            if own == 0:
                own = size
                own_codes[unit] = own
                pending[own] = 1
                size += 1
            if code == 0:
                code, first = own, unit
                continue
            key = np.uint64(code << 16 | unit)
            slot = np.int64((key * MIXER) >> shift)
            while table[slot] != 0 and table[slot] >> np.uint64(CODE_BITS) != key:
                slot = (slot + 1) & low
            if table[slot] != 0:
                code = np.int64(table[slot] & np.uint64(MAX_CODES - 1))
                continue
        elif code == 0:
            break
        if pending[code]:
            pending[code] = 0
            put_bits(out, state, NEW_BYTE if first < 256 else NEW_WORD, width)
            put_bits(out, state, first, 8 if first < 256 else 16)
            left -= 1
            if left == 0:
                left = np.int64(1) << width
                width += 1
        else:
            put_bits(out, state, code, width)
        left -= 1
        if left == 0:
            left = np.int64(1) << width
            width += 1
        if not ends:
            if size >= MAX_CODES - 1:  # one code and one unit are added a step
                return out[:0]
            table[slot] = key << np.uint64(CODE_BITS) | np.uint64(size)
            size += 1
            code, first = own, unit
    put_bits(out, state, END, width)
    # The last word of 16 bits is filled up with zeros; there is always at least one of them.
    put_bits(out, state, 0, 16 - (8 * state[2] + state[1]) % 16)
    return out[: state[2]]
