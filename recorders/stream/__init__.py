"""Streams experience over gRPC: ``server`` sends and accepts it, ``client`` receives it, ``protocol`` has the messages of both.

``ShardedConsumer``, ``cached`` and ``stream_async`` are imported lazily: they need the extra ``stream``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generals_env.recorders.stream.client.async_stream import stream_async
    from generals_env.recorders.stream.client.log_cache import cached
    from generals_env.recorders.stream.client.sharded import ShardedConsumer

__all__ = ["ShardedConsumer", "cached", "stream_async"]

HOMES = {"ShardedConsumer": "client.sharded", "cached": "client.log_cache", "stream_async": "client.async_stream"}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
