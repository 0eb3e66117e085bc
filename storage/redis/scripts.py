"""What Redis does at once for the channel log (`storage.redis.streams`): scripts, each a step that nothing divides.

`place` is a hash of a channel: `epoch`, `top` (its last offset), `floor` (the last that is no longer kept), `bytes`.
`kept` is the stream of what is kept, numbered by offset. `channels` is the channels of an account by their last use;
the ones beyond `IDLE_CHANNELS` are forgotten. `head` has the life (`run`) of the one stream of all channels, and
its last number.
"""

from __future__ import annotations

from typing import Final

from storage.channel_log import IDLE_CHANNELS

_REMEMBER: Final = f"""
local function remember(place, channels, fresh, at, prefix, account, channel, seconds)
  local epoch = redis.call('HGET', place, 'epoch')
  if not epoch then
    epoch = fresh
    redis.call('DEL', prefix .. account .. ':kept:' .. channel)
    redis.call('HSET', place, 'epoch', epoch, 'top', 0, 'floor', 0, 'bytes', 0)
  end
  redis.call('ZADD', channels, at, channel)
  redis.call('EXPIRE', channels, seconds)
  redis.call('EXPIRE', place, seconds)
  while redis.call('ZCARD', channels) > {IDLE_CHANNELS} do
    local gone = redis.call('ZPOPMIN', channels)[1]
    redis.call('DEL', prefix .. account .. ':place:' .. gone, prefix .. account .. ':kept:' .. gone)
  end
  return epoch
end
"""

_LIFE: Final = """
local function life(stream, head, fresh)
  local run = redis.call('HGET', head, 'run')
  if not run then
    run = fresh
    redis.call('DEL', stream)
    redis.call('HSET', head, 'run', run, 'number', 0)
  end
  return run
end
"""

HEAD: Final = f"""{_LIFE}
return {{life(KEYS[1], KEYS[2], ARGV[1]), tonumber(redis.call('HGET', KEYS[2], 'number'))}}
"""

APPEND: Final = f"""{_REMEMBER}{_LIFE}
local stream, head, place, kept, channels = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local fresh, messages, most, size = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local seconds, epoch_seconds, at, length = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local prefix, account, channel, said = ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local epoch, offset = '', 0
if messages > 0 then
  epoch = remember(place, channels, fresh, at, prefix, account, channel, seconds + epoch_seconds)
  offset = redis.call('HINCRBY', place, 'top', 1)
  redis.call('XADD', kept, offset .. '-0', 'said', said, 'size', size)
  redis.call('EXPIRE', kept, seconds + 60)
  local bytes, count = redis.call('HINCRBY', place, 'bytes', size), redis.call('XLEN', kept)
  while count > messages or (bytes > most and count > 0) do
    local first = redis.call('XRANGE', kept, '-', '+', 'COUNT', 1)[1]
    redis.call('XDEL', kept, first[1])
    bytes = redis.call('HINCRBY', place, 'bytes', -tonumber(first[2][4]))
    count = count - 1
    redis.call('HSET', place, 'floor', string.match(first[1], '^%d+'))
  end
end
local run = life(stream, head, fresh)
local number = redis.call('HINCRBY', head, 'number', 1)
redis.call('XADD', stream, 'MAXLEN', '~', length, number .. '-0',
  'run', run, 'epoch', epoch, 'offset', offset, 'said', said)
return {{run, number, epoch, offset}}
"""

PAST: Final = f"""{_REMEMBER}
local head, place, kept, channels = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local fresh, wanted, epoch_seconds, at = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local left = math.max(redis.call('TTL', place), epoch_seconds)
local epoch = remember(place, channels, fresh, at, ARGV[5], ARGV[6], ARGV[7], left)
local top = tonumber(redis.call('HGET', place, 'top'))
local floor = tonumber(redis.call('HGET', place, 'floor'))
local found = {{}}
if wanted == '1' then
  found = redis.call('XRANGE', kept, '-', '+')
end
if redis.call('EXISTS', kept) == 0 then
  floor = top
  redis.call('HSET', place, 'bytes', 0, 'floor', top)
end
return {{epoch, top, floor, found}}
"""
