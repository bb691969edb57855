"""Provides a separate protobuf descriptor pool for ``experience.proto``.

By default all generated code of a process shares one pool, in which each message name must be unique. The generated code of the
original server uses the same names: with a separate pool both can be imported in one process, in either order.
"""

from __future__ import annotations

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool

__all__ = ["Default"]

POOL = DescriptorPool()
POOL.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)


def Default() -> DescriptorPool:  # noqa: N802 - generated code calls it by this name
    """Return the pool; replaces protobuf's function of the same name."""
    return POOL
