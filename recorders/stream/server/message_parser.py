"""Bytes from the network to messages, counted before they take memory: a field of two bytes can make an object of many."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode

from generals_env.recorders.stream.server.grpc_status import CallRejectedError

__all__ = ["parsed"]

M = TypeVar("M", bound=Message)

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5  # wire types


def parsed(kind: type[M], data: bytes, most: int) -> M:
    """Return the message in bytes.

    Args:
        kind: Of the message.
        data: The bytes.
        most: Fields that may be in it, repeated ones counted each time.

    Raises:
        CallRejectedError: If it is none, or has more.
    """
    try:
        check_fields(data, most)
        message: Any = kind()
        message.ParseFromString(data)
    except (DecodeError, ValueError, IndexError) as error:
        raise CallRejectedError(
            StatusCode.INVALID_ARGUMENT, f"request: expected a {kind.__name__}, got {len(data)} bytes that are none"
        ) from error
    return message  # type: ignore[no-any-return]  # protobuf has no types


def check_fields(data: bytes, most: int) -> None:
    """Raise ``CallRejectedError`` if there are more fields than that, ``ValueError`` or ``IndexError`` if they are none."""
    at = count = 0
    while at < len(data):
        count += 1
        if count > most:
            raise CallRejectedError(StatusCode.INVALID_ARGUMENT, f"request: expected at most {most} fields, got more")
        tag, at = varint_at(data, at)
        form = tag & 7
        if form == VARINT:
            _, at = varint_at(data, at)
        elif form == BYTES:
            length, at = varint_at(data, at)
            at += length
        elif form in (EIGHT, FOUR):
            at += 8 if form == EIGHT else 4
        else:
            raise ValueError(f"wire type: expected 0, 1, 2 or 5, got {form}")


def varint_at(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place after it."""
    number = shift = 0
    while data[at] & 128:
        if shift > 63:
            raise ValueError("varint: expected at most 10 bytes, got more")
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
    return number | data[at] << shift, at + 1
