"""LZ-string's byte-array form, decoded with a bound on the output.

The format is that of pieroxy's lz-string (``compressToUint8Array``): LZ78 over UTF-16 code units, codes packed bit by bit,
each code least significant bit first, bytes most significant bit first. The package of that name on PyPI lacks the
byte-array form and bounds nothing: a few kilobytes can ask for gigabytes.
"""

from __future__ import annotations

from generals_env.errors import ReplayError

__all__ = ["MAX_CHARACTERS", "decompress"]

#: Longest output, in characters.
MAX_CHARACTERS = 64 * 2**20

NEW_BYTE, NEW_WORD, END = 0, 1, 2

#: Bytes that a reader turns into text of zeros and ones at a time: eight times as many characters.
WINDOW = 2**16


class BitReader:
    """Bits of a byte string, in the order of the format.

    They are kept as text, of which a code is a slice: much faster than shifting them out one by one.
    """

    def __init__(self, data: bytes) -> None:
        """Start at the first bit."""
        self._data = data
        self._bits = ""
        self._position = 0  # in ``_bits``
        self._next = 0  # byte that follows those in ``_bits``

    @property
    def byte(self) -> int:
        """Number of the byte in which the next bit lies."""
        return self._next - (len(self._bits) - self._position + 7) // 8

    def read(self, width: int) -> int:
        """Return the next ``width`` bits as a number.

        Raises:
            ReplayError: If the data ends first.
        """
        end = self._position + width
        if end > len(self._bits):
            piece = self._data[self._next : self._next + WINDOW]
            self._next += len(piece)
            # A one in front keeps the zeros with which the piece may begin.
            self._bits = self._bits[self._position :] + bin(int.from_bytes(b"\x01" + piece, "big"))[3:]
            self._position, end = 0, width
            if end > len(self._bits):
                raise ReplayError(f"data: expected an end mark, got the end of {len(self._data)} bytes: it is cut off")
        bits = self._bits[self._position : end]
        self._position = end
        return int(bits[::-1], 2)


def decompress(data: bytes, most: int = MAX_CHARACTERS) -> str:
    """Return the text that ``data`` holds.

    Args:
        data: What ``compressToUint8Array`` gave.
        most: Longest text to return, in characters.

    Raises:
        ReplayError: If the data is damaged, or the text would be longer than ``most``.
    """
    reader = BitReader(data)
    # Codes 0-2 are the marks; an entry of the dictionary is never empty.
    entries = ["", "", ""]
    width = 2
    pieces: list[str] = []
    length = 0
    previous = ""
    while True:
        code = reader.read(width)
        if code == END:
            return "".join(pieces)
        if code in (NEW_BYTE, NEW_WORD):
            entry = chr(reader.read(8 if code == NEW_BYTE else 16))
            entries.append(entry)
        elif code < len(entries):
            entry = entries[code]
        elif code == len(entries) and previous:
            entry = previous + previous[0]
        else:
            raise ReplayError(
                f"data: expected LZ-string, got what it cannot be at byte {reader.byte} of {len(data)}: it is damaged"
            )
        length += len(entry)
        if length > most:
            raise ReplayError(f"data: expected at most {most} characters, got more")
        pieces.append(entry)
        if previous:
            entries.append(previous + entry[0])
        previous = entry
        # The encoder counts the entry of the next code already.
        width = max(width, len(entries).bit_length())
