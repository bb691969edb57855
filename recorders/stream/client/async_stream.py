"""Wraps a stream as an asynchronous generator for ``asyncio``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from generals_env.arguments import check_options, keywords
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.stream.client.consumer import ExperienceConsumer

__all__ = ["stream_async"]


async def stream_async(consumer: ExperienceConsumer, **options: Any) -> AsyncIterator[ExperienceBatch]:
    """Yield experiences in batches, received in a thread; close the consumer at the end.

    Examples:
        >>> async for batch in stream_async(ExperienceConsumer("127.0.0.1:50051"), batch_size=256):  # doctest: +SKIP
        ...     print(len(batch))

    Args:
        consumer: Where to receive. It is closed however the generator ends, on cancellation, too.
        **options: Arguments of ``ExperienceConsumer.stream_experiences``.

    Raises:
        OptionError: If an option is unknown.
        GeneralsError: As ``ExperienceConsumer.stream_experiences``.
    """
    check_options(stream_async, options, keywords(ExperienceConsumer.stream_experiences))
    batches: Iterator[ExperienceBatch] = consumer.stream_experiences(**options)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "stream") as pool:
        try:
            while (batch := await loop.run_in_executor(pool, next, batches, None)) is not None:
                yield batch
        finally:
            consumer.close()
