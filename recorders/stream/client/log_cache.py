"""A stream kept in a log of this machine: what has come once is there, whatever becomes of the server, the line or the program.

The place in the stream is written with the experiences, in the same transaction. So after a crash of either the log holds each
experience once, and the stream goes on right behind the last one.
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

#: Where in the metadata of a batch the position behind it is.
KEY = "stream_position"


def cached(consumer: ExperienceConsumer, log: ExperienceLog, **options: Any) -> Iterator[ExperienceBatch]:
    """Yield a stream, each batch after the log has committed it; begin behind the last experience of the log.

    A log is the cache of one stream, with the same filters each time, and nobody else writes to it. Its own numbers differ from
    those of the stream. ``log.read()`` gives all that has come so far, without the server.

    Args:
        consumer: Where from.
        log: Where to, opened to be written.
        **options: Of ``ExperienceConsumer.stream_experiences``; batches come as they are by default.

    Raises:
        ConfigError: If an option is not what it should be.
        OptionError: If an option is unknown.
        StorageError: If the log cannot be written, or its last experiences are of no stream, or as ``stream_experiences``.
    """
    if "resume" in options:
        raise ConfigError(f"resume: expected to go on where the log ends, got {options['resume']}")
    check_options(cached, options, (name for name in keywords(consumer.stream_experiences) if name != "resume"))
    batches = consumer.stream_experiences(**{"batch_size": None, **options}, resume=cached_position(log))
    return written(consumer, log, batches)


def written(consumer: ExperienceConsumer, log: ExperienceLog, batches: Iterator[ExperienceBatch]) -> Iterator[ExperienceBatch]:
    """Yield batches after each has been written with the position behind it."""
    for batch in batches:
        position = consumer.position
        if position is not None:
            log.write(replace(batch, metadata={**batch.metadata, KEY: asdict(position)}))
        yield batch


def cached_position(log: ExperienceLog) -> Position | None:
    """Return the position behind the last experience of a log that ``cached`` wrote, None if it has none yet.

    Raises:
        StorageError: If the last experience is not there any more, is damaged, or is of no stream.
    """
    last = log.last
    if last < 0:
        return None
    for batch in log.read(last - 1):
        try:
            place = batch.metadata[KEY]
            return Position(str(place["stream_id"]), int(place["next_sequence"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"log: expected the cache of a stream, got experience {last} of none in {log.folder}") from error
    raise StorageError(f"log: expected experience {last}, the last one, got none in {log.folder}")
