"""Stores an index in a Parquet file without rows, so that programs can scan the folder as one table."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from generals_env.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["columns_of", "unwrapped", "wrapped"]

#: Keys of the file's metadata: the text of the index, and a checksum of the columns.
TEXT, CHECKSUM = b"generals_env.index", b"generals_env.index.columns"


def wrapped(text: bytes, columns: pa.Schema) -> bytes:
    """Return a Parquet file without rows that holds the text of an index.

    Args:
        text: The text, in UTF-8.
        columns: The columns of the files in the index.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns = columns.remove_metadata()
    marks = {TEXT: text, CHECKSUM: checksum(columns)}
    buffer = pa.BufferOutputStream()
    parquet.write_table(columns.with_metadata(marks).empty_table(), buffer)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def unwrapped(content: bytes) -> tuple[bytes, pa.Schema]:
    """Return the text and the columns that ``wrapped`` took.

    Raises:
        ImportError: Without pyarrow (``pip install "generals_env[storage]"``).
        StorageError: If the content is damaged.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        columns = parquet.read_schema(pa.BufferReader(content))
        text, recorded = columns.metadata[TEXT], columns.metadata[CHECKSUM]
        columns = columns.remove_metadata()
        if checksum(columns) != recorded:
            raise ValueError("the checksum of the columns differs")  # noqa: TRY301 - reported with the others
    except Exception as error:
        # Damaged bytes make pyarrow raise errors of many classes.
        raise StorageError(f"expected an index in a Parquet file, got {type(error).__name__}: {error}") from error
    return text, columns


def columns_of(contents: Iterable[bytes]) -> pa.Schema | None:
    """Return the columns of the first Parquet file that can be read, None if none can."""
    import pyarrow as pa
    from pyarrow import parquet

    for content in contents:
        try:
            return parquet.read_schema(pa.BufferReader(content))
        except (OSError, pa.ArrowException):  # it is damaged: verify_dataset() reports it
            continue
    return None


def checksum(columns: pa.Schema) -> bytes:
    """Return a checksum of the names and types of columns."""
    return f"{zlib.crc32(columns.to_string().encode()):08x}".encode()
