"""Decompresses LZ-string's byte-array form, with a limit on the size of the output.

The format is that of pieroxy's lz-string (``compressToUint8Array``): LZ78 over UTF-16 code units, codes packed bit by bit,
each code least significant bit first, bytes most significant bit first. The package of that name on PyPI lacks the byte-array
form and has no limit: a few kilobytes can expand to gigabytes.
"""

from __future__ import annotations

from generals_env.errors import ReplayError

__all__ = ["MAX_CHARACTERS", "decompress"]

#: Default limit of the output, in characters.
MAX_CHARACTERS = 64 * 2**20

NEW_BYTE, NEW_WORD, END = 0, 1, 2

#: Bytes that ``BitReader`` converts at a time to a text of zeros and ones, which is eight times as long.
WINDOW = 2**16


class BitReader:
    """Reads the bits of a byte string in the order of the format.

    The bits are held as text, of which a code is a slice: much faster than shifting single bits.
    """

    def __init__(self, data: bytes) -> None:
        """Start at the first bit."""
        self._data = data
        self._bits = ""
        self._position = 0  # in ``_bits``
        self._next = 0  # byte that follows those in ``_bits``

    @property
    def byte(self) -> int:
        """Index of the byte that contains the next bit."""
        return self._next - (len(self._bits) - self._position + 7) // 8

    def read(self, width: int) -> int:
        """Return the next ``width`` bits as a number.

        Raises:
            ReplayError: If the data ends first.
        """
        end = self._position + width
        if end > len(self._bits):
            window = self._data[self._next : self._next + WINDOW]
            self._next += len(window)
            # A one in front preserves leading zeros.
            self._bits = self._bits[self._position :] + bin(int.from_bytes(b"\x01" + window, "big"))[3:]
            self._position, end = 0, width
            if end > len(self._bits):
                raise ReplayError(
                    f"data: expected an end mark, got the end of {len(self._data)} bytes: it is cut off, download it again"
                )
        bits = self._bits[self._position : end]
        self._position = end
        return int(bits[::-1], 2)


def decompress(data: bytes, max_characters: int = MAX_CHARACTERS) -> str:
    """Return the text that is compressed in ``data``.

    Args:
        data: Output of ``compressToUint8Array``.
        max_characters: Limit of the length of the text.

    Raises:
        ReplayError: If the data is damaged, or the text would be longer than ``max_characters``.
    """
    reader = BitReader(data)
    # Codes 0-2 are marks; other entries of the dictionary are never empty.
    entries = ["", "", ""]
    width = 2
    texts: list[str] = []
    length = 0
    previous = ""
    while True:
        code = reader.read(width)
        if code == END:
            return paired("".join(texts))
        if code in (NEW_BYTE, NEW_WORD):
            entry = chr(reader.read(8 if code == NEW_BYTE else 16))
            entries.append(entry)
        elif code < len(entries):
            entry = entries[code]
        elif code == len(entries) and previous:
            entry = previous + previous[0]
        else:
            raise ReplayError(
                f"data: expected LZ-string, got what it cannot be at byte {reader.byte} of {len(data)}: it is damaged, "
                "download it again"
            )
        length += len(entry)
        if length > max_characters:
            raise ReplayError(f"data: expected at most {max_characters} characters, got more: pass a file with one replay")
        texts.append(entry)
        if previous:
            entries.append(previous + entry[0])
        previous = entry
        # The encoder already counts the entry of the next code.
        width = max(width, len(entries).bit_length())


def paired(text: str) -> str:
    """Return a text whose characters are UTF-16 code units with each pair of surrogates as the character that it means."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
