"""Caches a stream in a local log, so that each experience is received once, also across crashes of client or server.

The position in the stream is written with the experiences, in the same transaction. So after a crash the log holds each
experience once, and the stream continues after the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from generals_env.arguments import check_options, keywords
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.log import ExperienceLog
from generals_env.recorders.stream.client.consumer import ExperienceConsumer, Position

__all__ = ["cached", "cached_position"]

#: Key of the metadata of a batch that holds the position after it.
METADATA_KEY = "stream_position"


def cached(consumer: ExperienceConsumer, log: ExperienceLog, **options: Any) -> Iterator[ExperienceBatch]:
    """Yield a stream from after the last experience of the log on, each batch after the log has committed it.

    Use a log for one stream, with the same filters each time, and without other writers. Sequences in the log differ from those
    in the stream. ``log.read()`` returns all cached experiences, without the server.

    Args:
        consumer: Where to receive.
        log: Where to write, opened for writing.
        **options: Arguments of ``ExperienceConsumer.stream_experiences``; ``batch_size`` is None by default.

    Raises:
        ConfigError: If an option is invalid.
        OptionError: If an option is unknown.
        StorageError: If the log cannot be written, or its last experiences are not from a stream; and as
            ``stream_experiences``.
    """
    if "resume" in options:
        raise ConfigError(f"resume: expected to go on where the log ends, got {options['resume']}: leave it out")
    check_options(cached, options, (name for name in keywords(consumer.stream_experiences) if name != "resume"))
    batches = consumer.stream_experiences(**{"batch_size": None, **options}, resume=cached_position(log))
    return write_and_yield(consumer, log, batches)


def write_and_yield(
    consumer: ExperienceConsumer, log: ExperienceLog, batches: Iterator[ExperienceBatch]
) -> Iterator[ExperienceBatch]:
    """Write each batch with the position after it, then yield it."""
    for batch in batches:
        position = consumer.position
        if position is not None:
            log.write(replace(batch, metadata={**batch.metadata, METADATA_KEY: asdict(position)}))
        yield batch


def cached_position(log: ExperienceLog) -> Position | None:
    """Return the position after the last experience of a log that ``cached`` wrote, None if the log is empty.

    Raises:
        StorageError: If the last experience was removed, is damaged, or is not from a stream.
    """
    last = log.last
    if last < 0:
        return None
    for batch in log.read(last - 1):
        try:
            position = batch.metadata[METADATA_KEY]
            return Position(str(position["stream_id"]), int(position["next_sequence"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"log: expected the cache of a stream, got experience {last} of none in {log.folder}: use another folder"
            ) from error
    raise StorageError(f"log: expected experience {last}, the last one, got none in {log.folder}: use another folder")
