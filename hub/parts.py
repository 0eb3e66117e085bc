"""Parts of a hub that its settings decide on: what connects it to others, its keys, its budgets."""

from __future__ import annotations

from pathlib import Path

from channels.calls import Calls
from handlers.guard import Guard
from handlers.rates import Rates, table_of
from hub.access import SYSTEM
from hub.edge.budget import AHEAD_SECONDS
from hub.schema.registry import Registry
from hub.settings import Settings
from hub.vault import KeysUnusable
from storage.base import Storage, StorageRefused
from storage.bus import Bus, InProcessBus, NoBus
from storage.channel_log import ChannelLog, InProcessLog
from storage.keyring import Keyring
from storage.known import plan_of
from storage.locks import InProcessLocks, Locks
from storage.presence import Line
from storage.rates import Rate


def between_hubs(settings: Settings, storage: Storage) -> tuple[Bus, ChannelLog, Locks, Calls, Line | None]:
    """Return what connects the hubs that share the database that the settings name."""
    if not settings.redis_url:
        bus = InProcessBus() if not settings.database_url.startswith("mysql") else NoBus()
        return bus, InProcessLog(), InProcessLocks(), Calls(), None
    from storage.redis.address import Address, AddressError  # a hub without Redis needs no client of it
    from storage.redis.bus import RedisBus
    from storage.redis.line import RedisLine
    from storage.redis.locks import RedisLocks
    from storage.redis.post import RedisPost
    from storage.redis.queues import RedisQueues
    from storage.redis.streams import RedisLog

    async def realm() -> str:
        return (await storage.heads([SYSTEM]))[SYSTEM].epoch

    try:
        address = Address(settings.redis_url)
    except AddressError as error:
        raise StorageRefused(f"The setting redis_url cannot be used: {error}.") from None
    secret = settings.cluster_secret.encode()
    between, post = (address, secret, realm), RedisPost(address, secret, realm)
    calls, line = Calls(post, RedisQueues(post)), RedisLine(*between)
    return RedisBus(*between), RedisLog(*between), RedisLocks(*between), calls, line


def keyring_of(settings: Settings, folder: Path, registry: Registry) -> Keyring | None:
    """Return the keys of secret fields, None where no type has one; raise `StorageRefused`."""
    if not any(plan_of(kind).sealed for kind in registry.types.values()):
        return None
    try:
        return Keyring(folder / "secret.keys", settings.secret_keys, settings.cluster_secret.encode())
    except KeysUnusable as error:
        raise StorageRefused(str(error)) from None


def budgets_of(settings: Settings, storage: Storage) -> tuple[Rates, Guard]:
    """Return what counts requests and failed sign-ins, over all hubs where there is Redis; raise `StorageRefused`."""
    try:
        table = table_of(settings.rates)
    except ValueError as wrong:
        raise StorageRefused(f"The setting rates is wrong: {wrong}.") from None
    if not settings.redis_url:
        return Rates(table), Guard()
    from storage.redis.rates import RedisBackOff, RedisClient, RedisRates  # a hub without Redis needs no client of it

    async def realm() -> str:
        return (await storage.heads([SYSTEM]))[SYSTEM].epoch

    if per_second := settings.account_requests_per_second:
        table.setdefault(("cheap", "account"), Rate(per_second * AHEAD_SECONDS, AHEAD_SECONDS))
    client = RedisClient(settings.redis_url, settings.cluster_secret.encode(), realm)
    return Rates(table, RedisRates(client)), Guard(RedisBackOff(client))
