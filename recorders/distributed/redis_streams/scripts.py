"""Contains the Lua scripts that change and read a stream; Redis runs each of them whole, with no other command in between.

A stream has four keys, in one slot of a cluster: the stream ``NAME`` itself, and beside it ``{NAME}:state`` (a hash: ``id``,
``next``), ``{NAME}:runs`` and ``{NAME}:ranges`` (which sequences of which producer were added), ``{NAME}:chunks`` (digests of
chunks that have no such sequences) and ``{NAME}:groups`` (the next sequence of each consumer group, and what it has lost).

The id of an entry is ``<first sequence>-<number of experiences>``. Lua has numbers of 53 bits: larger sequences are refused.
"""

from __future__ import annotations

__all__ = ["ADD", "CLAIM", "IDS", "OPEN_GROUP", "PENDING", "READ", "READ_GROUP", "keys_of"]


def keys_of(stream: str) -> list[str]:
    """Return the keys of a stream, in the order in which scripts take them."""
    return [stream, *(f"{{{stream}}}:{name}" for name in ("state", "runs", "ranges", "chunks", "groups"))]


#: Functions of all scripts. ``place`` returns the id of the stream and its next sequence, which is at least what the client has
#: seen: a server that lost the tail of its append-only file assigns no sequence a second time.
COMMON = """
local stream, state, runs, ranges, chunks, groups = unpack(KEYS)
local function parts(id)
  local first, count = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(first), tonumber(count)
end
local function after_last()
  local info = redis.pcall('XINFO', 'STREAM', stream)
  if info.err then return 0 end
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
      local first, count = parts(info[at + 1])
      return first == 0 and count or first + math.max(count, 1)
    end
  end
end
local function place(known, seen)
  local id = redis.call('HGET', state, 'id')
  local following = tonumber(redis.call('HGET', state, 'next') or after_last())
  if id == known and seen > following then
    following = seen
    redis.call('HSET', state, 'next', string.format('%.0f', seen))
  end
  return id or '', following
end
local function text(number) return string.format('%.0f', number) end
local function without_large(entries, limit)
  for _, entry in ipairs(entries) do
    local size = 0
    for at = 1, #(entry[2] or {}) do size = size + #entry[2][at] end
    if size > limit then entry[2] = {'size', text(size)} end
  end
  return entries
end
"""

#: Adds a chunk, without what was added before. Arguments: id for a new stream, id of the stream that the client knows, highest
#: sequence that it has seen there, number of experiences, maximum number of experiences in the stream, remembered runs, run (or
#: empty), its first sequence, digest, time of writing, data. Returns {"added", stream id, next sequence}, {"repeat", ...}, or
#: {"overlap", ..., first, last} where sequences first to last of the run were added before, and others of the chunk were not.
ADD = (
    COMMON
    + """
local fresh, known, seen, count, bound = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local remembered, run, first = tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local digest, written_at, data = ARGV[9], ARGV[10], ARGV[11]
local id = redis.call('HGET', state, 'id') or ''
local following = tonumber(redis.call('HGET', state, 'next') or after_last())
if id == known then following = math.max(following, seen) end
local merged = {}
if run ~= '' then
  local last = first + count - 1
  local low, high = first, last
  for from, to in string.gmatch(redis.call('HGET', ranges, run) or '', '(%d+)-(%d+)') do
    from, to = tonumber(from), tonumber(to)
    if from <= first and last <= to then return {'repeat', id, text(following)} end
    if from <= last and first <= to then return {'overlap', id, text(following), text(from), text(to)} end
    if to == low - 1 then low = from elseif from == high + 1 then high = to
    else merged[#merged + 1] = {from, to} end
  end
  merged[#merged + 1] = {low, high}
elseif redis.call('ZSCORE', chunks, digest) then
  return {'repeat', id, text(following)}
end
local function add()
  if following + count > 9007199254740991 then return redis.error_reply('ERR the sequences of the stream run out') end
  return redis.pcall('XADD', stream, text(following) .. '-' .. text(count), 'd', data, 't', written_at, 'h', digest)
end
local added = add()
if added.err and string.find(added.err, 'equal or smaller', 1, true) then
  following = after_last()
  added = add()
end
if added.err then return added end
if id == '' then
  id = fresh
  redis.call('HSET', state, 'id', id)
end
following = following + count
redis.call('HSET', state, 'next', text(following))
redis.call('XTRIM', stream, 'MINID', '=', text(math.max(following - bound, 0)))
if run ~= '' then
  local texts = {}
  for number = math.max(#merged - 31, 1), #merged do
    texts[#texts + 1] = text(merged[number][1]) .. '-' .. text(merged[number][2])
  end
  redis.call('HSET', ranges, run, table.concat(texts, ','))
  redis.call('ZADD', runs, text(following), run)
  if redis.call('ZCARD', runs) > remembered then
    redis.call('HDEL', ranges, redis.call('ZPOPMIN', runs)[1])
  end
else
  redis.call('ZADD', chunks, text(following), digest)
  if redis.call('ZCARD', chunks) > remembered then redis.call('ZPOPMIN', chunks) end
end
return {'added', id, text(following)}
"""
)

#: Reads entries from a sequence on. Arguments: the sequence, or -1 for the oldest entry; maximum number of entries; maximum
#: bytes of an entry; id of the stream that the client knows, and highest sequence that it has seen there; id and digest of the
#: last entry that it has read, or empty. Returns {stream id, next sequence, whether that last entry is unchanged, entries}.
READ = (
    COMMON
    + """
local from, count, limit, known = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local seen, last_id, last_digest = tonumber(ARGV[5]), ARGV[6], ARGV[7]
local id, following = place(known, seen)
local before
if id == known and last_id ~= '' then
  before = redis.call('XRANGE', stream, last_id, last_id)[1]
  local changed = false
  if before then
    changed = true
    for at = 1, #before[2], 2 do
      if before[2][at] == 'h' and before[2][at + 1] == last_digest then changed = false end
    end
  else
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    changed = oldest and parts(oldest[1]) < parts(last_id)
  end
  if changed then return {id, text(following), 0, {}} end
end
local start = '-'
if from >= 0 then
  start = text(from)
  if not before and from > 0 then
    before = redis.call('XREVRANGE', stream, '(' .. start .. '-0', '-', 'COUNT', 1)[1]
  end
  if before then
    local first, number = parts(before[1])
    if first + number > from then start = before[1] end
  end
end
return {id, text(following), 1, without_large(redis.call('XRANGE', stream, start, '+', 'COUNT', count), limit)}
"""
)

#: Makes a consumer group unless there is one. Arguments: group, whether it begins with the oldest entry ("1") or with those
#: added from now on.
OPEN_GROUP = (
    COMMON
    + """
local group, oldest = ARGV[1], ARGV[2] == '1'
if redis.call('EXISTS', stream) == 1 then
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if info[2] == group then return 0 end
  end
end
local _, following = place('', 0)
local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local first = following
if oldest and entry then first = parts(entry[1]) end
redis.call('XGROUP', 'CREATE', stream, group, oldest and '0' or '$', 'MKSTREAM')
redis.call('HSET', groups, group, text(first))
return 1
"""
)

#: Reads entries that no consumer of a group has. Arguments: group, consumer, maximum number of entries, maximum bytes of one,
#: id of the stream that the client knows, and highest sequence that it has seen there. Returns {stream id, next sequence of
#: the stream, experiences that were trimmed before the group got them, entries}.
READ_GROUP = (
    COMMON
    + """
local group, consumer, count, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local known, seen = ARGV[5], tonumber(ARGV[6])
local answer = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
local entries = answer and answer[1] and answer[1][2] or {}
local id, following = place(known, seen)
local before = tonumber(redis.call('HGET', groups, group) or '-1')
local expected = before
if id == known then expected = math.max(expected, seen) end
local missed = 0
for _, entry in ipairs(entries) do
  local first, number = parts(entry[1])
  if expected >= 0 and number > 0 and first > expected then missed = missed + first - expected end
  expected = math.max(expected, first + number)
end
if #entries == 0 and expected >= 0 and following > expected then
  missed = following - expected
  expected = following
end
if expected ~= before then redis.call('HSET', groups, group, text(expected)) end
return {id, text(following), text(missed), without_large(entries, limit)}
"""
)

#: Reads entries again that a consumer got and did not acknowledge. Arguments: group, consumer, id after which to begin, maximum
#: number of entries, maximum bytes of one. Returns entries; those that were removed since have no fields.
PENDING = (
    COMMON
    + """
local answer = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[4], 'STREAMS', stream, ARGV[3])
return without_large(answer and answer[1] and answer[1][2] or {}, tonumber(ARGV[5]))
"""
)

#: Takes over entries that other consumers got long ago and did not acknowledge. Arguments: group, consumer, milliseconds since
#: they got them, id at which to begin, maximum number of entries, maximum bytes of one. Returns {id at which to go on, entries,
#: ids of entries that were removed since}.
CLAIM = (
    COMMON
    + """
local answer = redis.call('XAUTOCLAIM', stream, ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
return {answer[1], without_large(answer[2], tonumber(ARGV[6])), answer[3]}
"""
)

#: Lists entries without their data. Arguments: id after which to begin, maximum number. Returns {stream id, ids, sizes}.
IDS = (
    COMMON
    + """
local ids, sizes = {}, {}
for _, entry in ipairs(redis.call('XRANGE', stream, ARGV[1], '+', 'COUNT', tonumber(ARGV[2]))) do
  ids[#ids + 1] = entry[1]
  local size = 0
  for at = 2, #entry[2], 2 do size = size + #entry[2][at] end
  sizes[#sizes + 1] = size
end
return {redis.call('HGET', state, 'id') or '', ids, sizes}
"""
)
