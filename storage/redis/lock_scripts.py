"""What Redis does at once for locks (`storage.redis.locks`): scripts, each a step that nothing divides.

`locks` is a hash: a record to `session|number|` and the signed holder. `until` says when each lapses, in milliseconds
by Redis's clock. `counts` has how many an account holds; a set per session, which records. `head` has the life (`run`)
of all this, how many changes there were, and the largest number given. Each change is published with its count.
"""

from __future__ import annotations

from typing import Final

from storage.locks import IN_ALL, LEASE_SECONDS, PER_ACCOUNT, PER_SESSION

LEASE_MILLIS: Final = round(LEASE_SECONDS * 1000)
DAY_SECONDS: Final = 86_400
"""For how long what nobody uses is remembered."""
LAPSED_AT_ONCE: Final = 1000

_HEAD: Final = f"""
local locks, ends, counts, head = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local sessions, channel, fresh = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run = redis.call('HGET', head, 'run')
if not run then
  run = fresh
  redis.call('DEL', locks, ends, counts)
  redis.call('HSET', head, 'run', run, 'count', 0, 'number', 0)
end
local function tell(why, number, field, holder)
  local count = redis.call('HINCRBY', head, 'count', 1)
  local said = run .. '|' .. count .. '|' .. why .. '|' .. number .. '|' .. field .. '|' .. holder
  redis.call('PUBLISH', channel, said)
  return count
end
local function found(field)
  local value = redis.call('HGET', locks, field)
  if not value then
    return nil
  end
  local session, number, holder = string.match(value, '^([^|]*)|(%d+)|(.*)$')
  return {{session = session, number = number, holder = holder}}
end
local function set_of(field, session)
  return sessions .. string.match(field, '^[^:]*') .. ':' .. session
end
local function drop(field, why)
  local lock = found(field)
  if not lock then
    redis.call('ZREM', ends, field)
    return 0
  end
  redis.call('HDEL', locks, field)
  redis.call('ZREM', ends, field)
  redis.call('SREM', set_of(field, lock.session), field)
  if redis.call('HINCRBY', counts, string.match(field, '^[^:]*'), -1) <= 0 then
    redis.call('HDEL', counts, string.match(field, '^[^:]*'))
  end
  return tell(why, lock.number, field, '')
end
for _, field in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, {LAPSED_AT_ONCE})) do
  drop(field, 'lapsed')
end
"""

TAKE: Final = f"""{_HEAD}
local field, session, holder, steal = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local account, ended = string.match(field, '^[^:]*'), redis.call('ZSCORE', ends, field)
if ended and tonumber(ended) <= now then
  drop(field, 'lapsed')
end
local lock, mine, count = found(field), set_of(field, session), 0
if lock and lock.session ~= session and steal == '0' then
  return {{'held', lock.holder, 0}}
end
if not lock or lock.session ~= session then
  if redis.call('SCARD', mine) >= {PER_SESSION} then
    return {{'session', '', 0}}
  end
  if not lock and tonumber(redis.call('HGET', counts, account) or '0') >= {PER_ACCOUNT} then
    return {{'account', '', 0}}
  end
  if not lock and redis.call('HLEN', locks) >= {IN_ALL} then
    return {{'all', '', 0}}
  end
  local last = tonumber(redis.call('HGET', head, 'number'))
  local number = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
  if lock then
    redis.call('SREM', set_of(field, lock.session), field)
  else
    redis.call('HINCRBY', counts, account, 1)
  end
  redis.call('HSET', head, 'number', number)
  redis.call('HSET', locks, field, session .. '|' .. number .. '|' .. holder)
  redis.call('SADD', mine, field)
  count = tell(lock and 'stolen' or 'taken', number, field, holder)
  lock = {{number = number}}
end
redis.call('ZADD', ends, now + {LEASE_MILLIS}, field)
for _, key in ipairs({{locks, ends, counts, head, mine}}) do
  redis.call('EXPIRE', key, {DAY_SECONDS})
end
return {{'ok', lock.number, count}}
"""

RELEASE: Final = f"""{_HEAD}
local lock = found(ARGV[4])
if lock and lock.session ~= ARGV[5] then
  return {{'held', lock.holder, 0}}
end
return {{'ok', '', lock and drop(ARGV[4], 'released') or 0}}
"""

END: Final = f"""{_HEAD}
local mine = sessions .. ARGV[4] .. ':' .. ARGV[5]
for _, field in ipairs(redis.call('SMEMBERS', mine)) do
  local lock = found(field)
  if lock and lock.session == ARGV[5] then
    drop(field, 'released')
  end
end
redis.call('DEL', mine)
return {{'ok', '', 0}}
"""

FORGET: Final = f"""{_HEAD}
if found(ARGV[4]) then
  drop(ARGV[4], 'deleted')
end
return {{'ok', '', 0}}
"""

LOOK: Final = f"""{_HEAD}
return {{run, tonumber(redis.call('HGET', head, 'count'))}}
"""

ALL: Final = f"""{_HEAD}
return {{run, tonumber(redis.call('HGET', head, 'count')), redis.call('HGETALL', locks)}}
"""
