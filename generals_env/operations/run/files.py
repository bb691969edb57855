"""Opens the files that the settings name, in a folder or in a bucket."""

from __future__ import annotations

import os

from generals_env.operations.settings.models import Settings
from generals_env.recorders import AdaptiveLevel, DatasetWriter

__all__ = ["level_of", "open_writer", "storage_place"]


def storage_place(settings: Settings) -> str:
    """Return the folder or URL of the files; set the region and the server of a bucket for this process.

    Variables of the environment take precedence, as they do for all settings.
    """
    storage = settings.storage
    if storage.type == "file":
        return storage.file.directory
    os.environ.setdefault("AWS_DEFAULT_REGION", storage.s3.region)
    if storage.s3.endpoint is not None:
        os.environ.setdefault("AWS_ENDPOINT_URL", storage.s3.endpoint)
    return f"s3://{storage.s3.bucket}/{storage.s3.prefix}".rstrip("/")


def level_of(settings: Settings) -> AdaptiveLevel:
    """Return the level of compression of a worker, which ``change`` adapts to changed settings."""
    return AdaptiveLevel(**settings.compression.model_dump())


def open_writer(settings: Settings, level: AdaptiveLevel | None = None) -> DatasetWriter:
    """Open the writer of the files.

    Args:
        settings: The settings.
        level: Chooses the level of compression; None for that of each format.

    Raises:
        ImportError: Without the libraries that format or bucket need.
        StorageError: If folder or bucket cannot be written.
    """
    storage = settings.storage
    return DatasetWriter(
        storage_place(settings),
        storage.s3.format if storage.type == "s3" else storage.file.format,
        storage.naming,
        max_file_bytes=storage.max_file_bytes,
        max_file_seconds=storage.max_file_seconds,
        keep_bytes=storage.keep_bytes,
        keep_seconds=storage.keep_seconds,
        min_free_bytes=storage.min_free_bytes,
        when_full=storage.when_full,
        compression_level=level,
    )
