"""Names the policies for consumers that cannot keep up, as the values of the enum ``Overflow``."""

from __future__ import annotations

from generals_env.recorders.stream.protocol import experience_pb2 as pb

__all__ = ["OVERFLOWS"]

#: Values of ``Overflow`` by name.
OVERFLOWS = {"block": pb.BLOCK, "drop_oldest": pb.DROP_OLDEST, "drop_newest": pb.DROP_NEWEST}
