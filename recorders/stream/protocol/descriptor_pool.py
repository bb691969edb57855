"""The descriptor pool of ``experience.proto``.

Protobuf keeps generated code of a process in one pool, where a name may stand for one message only. The generated code of the
original server has our names: with a pool of our own both can be imported in one process, in either order.
"""

from __future__ import annotations

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool

__all__ = ["Default"]

POOL = DescriptorPool()
POOL.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)


def Default() -> DescriptorPool:  # noqa: N802 - generated code calls it by this name
    """Return the pool, in place of the function of protobuf of the same name."""
    return POOL
