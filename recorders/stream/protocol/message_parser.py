"""Parses protobuf requests, after a check of their number of fields.

Protobuf allocates an object for each field, also for a field of two bytes: so fields are counted before anything is allocated.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from generals_env.errors import ConfigError

__all__ = ["parse_message"]

M = TypeVar("M", bound=Message)

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5  # wire types


def parse_message(kind: type[M], data: bytes, max_fields: int) -> M:
    """Return the message that the bytes encode.

    Args:
        kind: Class of the message.
        data: The bytes.
        max_fields: Maximum number of top-level fields; repeated ones count each time.

    Raises:
        ConfigError: If the bytes are not such a message, or have more fields.
    """
    try:
        check_fields(data, max_fields)
        message: Any = kind()
        message.ParseFromString(data)
    except ConfigError:  # a ValueError, too
        raise
    except (DecodeError, ValueError, IndexError) as error:
        raise ConfigError(
            f"request: expected a {kind.__name__}, got {len(data)} bytes that are none: use code generated of experience.proto"
        ) from error
    return message  # type: ignore[no-any-return]  # protobuf has no types


def check_fields(data: bytes, max_fields: int) -> None:
    """Raise ``ConfigError`` for more than ``max_fields`` fields, ``ValueError`` or ``IndexError`` for malformed bytes."""
    offset = count = 0
    while offset < len(data):
        count += 1
        if count > max_fields:
            raise ConfigError(f"request: expected at most {max_fields} fields, got more: split it")
        tag, offset = read_varint(data, offset)
        form = tag & 7
        if form == VARINT:
            _, offset = read_varint(data, offset)
        elif form == BYTES:
            length, offset = read_varint(data, offset)
            offset += length
        elif form in (EIGHT, FOUR):
            offset += 8 if form == EIGHT else 4
        else:
            raise ValueError(f"wire type: expected 0, 1, 2 or 5, got {form}")


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """Decode the varint at an offset; return it and the offset after it."""
    number = shift = 0
    while data[offset] & 128:
        if shift > 63:
            raise ValueError("varint: expected at most 10 bytes, got more")
        number |= (data[offset] & 127) << shift
        shift += 7
        offset += 1
    return number | data[offset] << shift, offset + 1
