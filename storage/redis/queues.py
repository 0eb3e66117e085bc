"""The queues of several hubs in Redis: what waits for a client, each with an expiry of its own, in a list.

`list` is what waits for one client, by the keys of its items; `account` and `all` have the items by the time at which
they expire, which bounds them and says for whom anything waits. The scripts are each a step that nothing divides, and
go by the clock of Redis. Items are signed and name their client. They are asked for over the connection of the post.
"""

from __future__ import annotations

import hmac
from typing import Final

from hub.wire.errors import HubError
from storage.queues import IN_ALL, PER_ACCOUNT, PER_TARGET, QueueKey, full
from storage.redis.post import Names, RedisPost

_MAC: Final = 32
_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

PUT: Final = f"""{_NOW}
local list, account, all = KEYS[1], KEYS[2], KEYS[3]
local prefix, item, body, ms, member, first = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
for _, each in ipairs(redis.call('LRANGE', list, 0, -1)) do
  if redis.call('EXISTS', prefix .. each) == 0 then
    redis.call('LREM', list, 1, each)
  end
end
redis.call('ZREMRANGEBYSCORE', account, '-inf', now)
redis.call('ZREMRANGEBYSCORE', all, '-inf', now)
if first == '0' and (redis.call('LLEN', list) >= {PER_TARGET} or redis.call('ZCARD', account) >= {PER_ACCOUNT}
    or redis.call('ZCARD', all) >= {IN_ALL}) then
  return 0
end
redis.call('SET', prefix .. item, body, 'PX', ms)
redis.call(first == '0' and 'RPUSH' or 'LPUSH', list, item)
redis.call('ZADD', account, now + ms, member)
redis.call('ZADD', all, now + ms, member)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, math.max(ms, redis.call('PTTL', key)))
end
return 1
"""

TAKE: Final = """
local list, account, all, prefix, start = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
while true do
  local item = redis.call('LPOP', list)
  if not item then
    return false
  end
  local left = redis.call('PTTL', prefix .. item)
  local body = redis.call('GETDEL', prefix .. item)
  redis.call('ZREM', account, start .. item)
  redis.call('ZREM', all, start .. item)
  if body then
    return {body, left}
  end
end
"""

WAITING: Final = f"""{_NOW}
return {{tostring(now), redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES', 'LIMIT', 0, {IN_ALL})}}
"""


class RedisQueues:
    """The queues, as this instance asks for them."""

    def __init__(self, post: RedisPost) -> None:
        self._post = post

    async def put(self, key: QueueKey, item: str, body: bytes, seconds: float, *, first: bool = False) -> None:
        """Have something wait."""
        names, field = self._names(), _field(key)
        said = names.sign(b"queue", field, body) + body
        ms = max(1, round(seconds * 1000))
        given = (f"{names.prefix}waits:item:", item, said, ms, field + item.encode(), int(first))
        if not await self._post.ask("EVAL", PUT, 3, *_keys(names, key[0], field), *given):
            raise full()

    async def take(self, key: QueueKey) -> tuple[bytes, float] | None:
        """Take out what has waited longest."""
        names, field = self._names(), _field(key)
        while True:
            words = ("EVAL", TAKE, 3, *_keys(names, key[0], field), f"{names.prefix}waits:item:", field)
            found = await self._post.ask(*words)
            if found is None:
                return None
            mac, body = found[0][:_MAC], found[0][_MAC:]
            if hmac.compare_digest(mac, names.sign(b"queue", field, body)):
                return body, found[1] / 1000

    async def waiting(self) -> dict[QueueKey, float]:
        """Return for whom something waits."""
        names = self._names()
        now, found = await self._post.ask("EVAL", WAITING, 1, f"{names.prefix}waits:all")
        waiting: dict[QueueKey, float] = {}
        for member, until in zip(found[::2], found[1::2], strict=True):
            key = _key(member)
            if key is not None:
                seconds = (float(until) - float(now)) / 1000
                waiting[key] = max(seconds, waiting.get(key, 0.0))
        return waiting

    def _names(self) -> Names:
        names = self._post.names
        if names is None:
            raise HubError("server.unavailable", "What waits for clients waits for Redis.", retry_after=1)
        return names


def _keys(names: Names, account: str, field: bytes) -> tuple[bytes, ...]:
    prefix = f"{names.prefix}waits:".encode()
    return prefix + b"for:" + field, prefix + b"of:" + account.encode(), prefix + b"all"


def _field(key: QueueKey) -> bytes:
    """Return a client as a text of which none begins with another."""
    account, kind, rec = key
    return f"{account}:{kind}:{rec.encode().hex()}|".encode()


def _key(member: bytes) -> QueueKey | None:
    try:
        account, kind, rec = member.partition(b"|")[0].decode().split(":")
        return account, kind, bytes.fromhex(rec).decode()
    except ValueError:
        return None
