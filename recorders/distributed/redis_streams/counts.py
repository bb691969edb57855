"""Keeps the counts of an ``InsertLimiter`` in Redis, beside a stream, for processes of several machines."""

from __future__ import annotations

from typing import Any

from generals_env.recorders.distributed.redis_streams.address import parse_redis_address
from generals_env.recorders.distributed.redis_streams.connection import RedisConnection
from generals_env.recorders.filesystem.retry import Retry
from generals_env.recorders.sinks.insert_limits import InsertCounts

__all__ = ["RedisCounts"]

#: Makes the counts if they are not there, and changes them. Arguments: limits (or empty), inserted, sampled, wanted (or -1),
#: draws per experience, lowest balance (or empty). Returns {limits, inserted, sampled, wanted, 1 if it was changed}, whole
#: numbers, as Lua answers with no others.
CHANGE = """
local key = KEYS[2]
local function number(name) return tonumber(redis.call('HGET', key, name) or 0) end
if ARGV[1] ~= '' then redis.call('HSETNX', key, 'limits', ARGV[1]) end
local inserted, sampled, wanted = number('inserted'), number('sampled'), number('wanted')
local changed = 1
if ARGV[6] ~= '' and tonumber(ARGV[5]) * inserted - sampled - tonumber(ARGV[3]) < tonumber(ARGV[6]) then
  changed = 0
elseif ARGV[2] ~= '0' or ARGV[3] ~= '0' or ARGV[4] ~= '-1' then
  inserted, sampled = inserted + tonumber(ARGV[2]), sampled + tonumber(ARGV[3])
  wanted = math.max(wanted - tonumber(ARGV[2]), 0)
  if ARGV[4] ~= '-1' then wanted = tonumber(ARGV[4]) end
  for name, value in pairs({inserted = inserted, sampled = sampled, wanted = wanted}) do
    redis.call('HSET', key, name, string.format('%.0f', value))
  end
end
return {redis.call('HGET', key, 'limits') or '', inserted, sampled, wanted, changed}
"""


class RedisCounts:
    """Counts in a hash beside a stream. A call whose answer is lost is repeated, so that it may be counted twice."""

    def __init__(self, address: str, limits: str | None) -> None:
        """Connect.

        Args:
            address: ``redis://host:port/db?stream=NAME``.
            limits: What is kept beside the counts if nothing is.

        Raises:
            ConfigError: If the address is invalid.
            ImportError: Without redis-py.
            StorageError: If the server cannot be reached, or refuses.
        """
        self._connection = RedisConnection(parse_redis_address(address), Retry(tries=10, first_wait=0.1, max_wait=2.0))
        self.place = self._connection.place
        self._given = limits or ""
        self.limits = ""
        self._change()

    def add(self, inserted: int = 0, sampled: int = 0) -> InsertCounts:
        """Add to the counts and return them; inserted experiences are no longer wanted."""
        return self._change(inserted, sampled)[0]

    def get(self) -> InsertCounts:
        """Return the counts."""
        return self._change()[0]

    def want(self, count: int) -> None:
        """Set how many experiences are wanted."""
        self._change(wanted=count)

    def draw(self, n: int, limit: float, samples_per_insert: float) -> InsertCounts | None:
        """Add n draws if the balance, which falls by n, stays at or above a limit; return the counts then, else None."""
        counts, changed = self._change(0, n, -1, repr(float(samples_per_insert)), repr(float(limit)))
        return counts if changed else None

    def _change(
        self, inserted: int = 0, sampled: int = 0, wanted: int = -1, rate: str = "", limit: str = ""
    ) -> tuple[InsertCounts, bool]:
        values: list[Any] = [self._given, int(inserted), int(sampled), int(wanted), rate, limit]
        limits, *counts, changed = self._connection.run(CHANGE, values)
        self.limits = limits.decode()
        return InsertCounts(*map(int, counts)), bool(changed)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()
