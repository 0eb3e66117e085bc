"""The other places at which an account is what separates: live state, keys, positions, who may come in.

With `unfiltered` this is the list of the account predicates; each stands with what takes it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import structs

import handlers.calls
import handlers.channels
import handlers.sessions
from channels.hall import HALL, Hall
from channels.rosters import Rosters
from channels.watches import Watches
from hub.access import Identity
from hub.schema.query import Query
from hub.schema.totals import totals_of
from storage.base import Totals
from storage.memory import MemoryDatabase, MemoryStorage
from tests.wire.talk import connected
from tests.wire.unfiltered import find_anywhere
from tests.wire.worlds import CANARY, Worlds, leaked

# -- keepers -------------------------------------------------------------------------------------------


async def _totals(self: MemoryStorage, account: str, aggregate: Any) -> Totals:
    found = find_anywhere(self, account, Query(aggregate.type, aggregate.where))
    groups, more = totals_of(found.records, aggregate)
    return Totals(groups, found.seq, more)


def _matching(self: MemoryDatabase, account: str, kind: Any, where: Any, limit: int) -> list[Any]:
    rows = [table for (_, name), table in self.rows.items() if name == kind.name]
    return [i for table in rows for i in table.values() if i["id"] in _ids(where) and i["deleted_at"] is None]


def _ids(node: Any) -> set[Any]:
    return {node.value} if getattr(node, "field", "") == "id" and node.op == "eq" else set()


def _key(self: MemoryDatabase, account: str, scope: str, key: str) -> Any:
    return next((row for (_, _, name), row in self.keys.items() if name == key), None)


async def _position(self: MemoryStorage, account: str, name: str) -> Any:
    return next((found for (_, known), found in self.database.feeds.items() if known == name), None)


# -- live state ----------------------------------------------------------------------------------------

_TELL: Final = Watches.tell


def _tell(self: Watches, commit: Any) -> None:
    for account in dict.fromkeys(account for account, _ in self._indexes):
        _TELL(self, structs.replace(commit, account=account))


_ALLOWED: Final = handlers.channels.allowed


async def _allowed(*given: Any, **more: Any) -> Any:
    (_, name), channel = await _ALLOWED(*given, **more)
    return ("", name), channel


def _members(self: Hall, account: str) -> Any:
    rosters: Rosters = self._rosters
    return {
        key: member
        for (_, name), room in rosters._rooms.items()
        if name == HALL
        for key, member in room.members.items()
    }


_ADDRESS: Final = handlers.calls._address


def _address(call: Any, request: Any, command: Any) -> Any:
    to, targets = _ADDRESS(call, request, command), call.services.live.calls.targets
    there = next((t.account for t in targets._targets.values() if to.rec in {t.session.id, t.who.rec}), to.account)
    return structs.replace(to, account=there)


# -- who may come in -----------------------------------------------------------------------------------


def _role_in(self: Identity, account: str) -> str | None:
    return self.roles[0][1] if self.roles else None


UNFILTERED_LIVE: Final[dict[str, tuple[Any, str, Callable[..., Any], set[str]]]] = {
    "aggregates": (MemoryStorage, "aggregate", _totals, {"record.aggregate"}),
    "bulk writes": (MemoryDatabase, "matching", _matching, {"record.update_where"}),
    "kept answers": (MemoryDatabase, "key", _key, {"record.create"}),
    "positions of feeds": (MemoryStorage, "feed_position", _position, {"feed.start"}),
    "whom a watch tells": (Watches, "tell", _tell, {"watch.start"}),
    "who is in a channel": (handlers.channels, "allowed", _allowed, {"channel.join"}),
    "who is in the account": (Hall, "members", _members, {"presence.status"}),
    "whom a command reaches": (handlers.calls, "_address", _address, {"client.call"}),
    "which account may be entered": (Identity, "role_in", _role_in, {"session.hello"}),
    "whose session comes back": (handlers.sessions, "_same", lambda one, other: True, {"session.hello"}),
}
"""By what is taken out: where it is, its name, what stands there instead, and operations that must be seen to leak."""


async def hearing(worlds: Worlds) -> list[str]:
    """Return what somebody hears while the other account writes, joins and says something."""
    found: list[str] = []
    async with connected(worlds.place.socket_url) as client:
        await client.greet(worlds.keys["owner"])
        await client.ok("watch.start", type="event", where={"title": {"$starts": "canary"}})
        shared = f"audience:shared-{worlds.own.acronym}"
        await worlds.holder.ok("channel.join", channel=shared, presence={"state": {"at": CANARY}})
        joined = await client.call("channel.join", channel=shared, presence={"state": {}})
        await worlds.holder.ok("channel.send", channel=shared, event="said", data=CANARY)
        await worlds.holder.create("event", title=CANARY)
        await worlds.holder.ok("channel.leave", channel=shared)
        pushes = await client.settled()
        for op, what in (("channel.join", joined), *((_OPS[push["op"]], push) for push in pushes)):
            for text in leaked(_encoded(what), worlds.theirs):
                found.append(f"owner {op}: hears {text}")
    await worlds.holder.settled()
    return found


_OPS: Final = {
    "change": "watch.start",
    "message": "channel.join",
    "presence": "channel.join",
    "notice": "session.hello",
}


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
