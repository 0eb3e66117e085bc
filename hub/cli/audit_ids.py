"""A hub made to be looked over: a record of every type under internal keys that are known again, and every operation.

The keys of records and accounts begin far above anything else that is a number, so that a key that leaves is seen
wherever it stands: as a number, inside a text, in an answer, a push, a refusal or the schema.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from channels.outlet import Outlet
from handlers import people
from handlers.access_table import OPERATIONS
from handlers.base import Call, Peer
from hub.access import OPERATOR, SYSTEM, Rights
from hub.app import Assembled, DataFolder, assemble
from hub.schema.fields import FOR_ID, FOR_TYPE, FieldSpec
from hub.schema.record import RecordType, referred
from hub.schema.registry import Registry
from hub.schema.writes import Commit, Create
from hub.settings import Settings
from hub.wire.codec import JSON, convert
from hub.wire.errors import HubError
from hub.wire.names import public_id
from storage.sql.group import Group

BASE: Final = 7_310_000_000_000
"""Internal keys are above this; times in milliseconds, sizes and counts are not."""
_KEY: Final = re.compile(rb"731\d{10}(?!\d)")
_NAMES: Final = re.compile(r"(^|_)(pk|alive)$")
_TEXTS: Final = ("audit", "a", "0" * 64, "audit.example", "aa", "2031", "audit@example.org", "record.read")
_SAMPLES: Final[dict[str, tuple[Any, ...]]] = {
    "integer": (1, 0),
    "number": (1.5,),
    "boolean": (True,),
    "time": ("2031-01-01T10:00:00Z",),
    "date": ("2031-01-01",),
    "list": ([], ["event.read"], ["a"], [1]),
}
TRIES: Final = 40
"""How many values of a field are tried."""
_TOP: Final = {"session.auth", "client.call", "client.reply", "feed.ack", "channel.send", "watch.stop"}
"""Operations of which a refusal is enough: what they say depends on no record."""


@dataclass
class Audit:
    """What was looked at, and what is wrong."""

    answers: int = 0
    pushes: int = 0
    operations: int = 0
    types: int = 0
    problems: list[str] = field(default_factory=list)

    def look(self, label: str, frame: bytes) -> None:
        """Look for internal keys in a frame."""
        if found := _KEY.search(frame):
            self.problems.append(f"{label}: an internal key stands in it: {found[0].decode()}")
        for name in _named(msgspec.json.decode(frame)):
            self.problems.append(f"{label}: a field is called {name}")


def _named(value: Any) -> Iterator[str]:
    """Yield the names of fields that only internal columns have."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if _NAMES.search(name):
                yield name
            yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)


def sample(
    kind: RecordType, registry: Registry, ids: dict[str, str], refused: dict[str, int] | None = None
) -> dict[str, Any] | None:
    """Return data of a record of a type, None where it refers to a record that is not there yet.

    `refused` says of how many values of a field it is known that they will not do.
    """
    data: dict[str, Any] = {}
    for wire, spec in kind.fields.items():
        if spec.ref is not None:
            if referred(spec).name in ids:
                data[wire] = ids[referred(spec).name]
            elif spec.required:
                return None
        elif wire in {FOR_TYPE, FOR_ID} and kind.for_types:
            target = kind.for_types[0].name
            if target not in ids:
                return None
            data[wire] = target if wire == FOR_TYPE else ids[target]
        elif spec.required:
            good = _values(spec, registry)
            data[wire] = good[min((refused or {}).get(wire, 0), len(good) - 1)] if good else None
    return data


def _values(spec: FieldSpec, registry: Registry) -> list[Any]:
    """Return values that a field accepts."""
    tried = _SAMPLES.get(spec.kind, ({},))
    if spec.kind == "text":
        tried = (*(spec.choices or ()), *_TEXTS, *sorted(registry.lookups))
    if spec.option.lookup is not None:
        tried = tuple(row.shown["code"] for row in registry.lookups[spec.option.lookup].load("")[:1])
    good: list[Any] = []
    for value in tried:
        try:
            msgspec.convert(value, spec.accepts)
        except msgspec.ValidationError:
            continue
        good.append(value)
    return good


async def make(parts: Assembled, account: str, kind: RecordType, ids: dict[str, str]) -> str | None:
    """Make a record of a type, with the first values that will do; return its id, None where it has to wait."""
    services, refused = parts.hub.services, dict[str, int]()
    parent = ids.get(kind.parent.name) if kind.parent is not None else None
    while True:
        data = sample(kind, services.registry, ids, refused)
        if data is None or (kind.parent is not None and parent is None):
            return None
        write = Create(kind, public_id(services.random(8)), kind.accept_create(data, trusted=True), parent)
        try:
            await services.storage.submit(Commit(SYSTEM if kind.system else account, (write,)))
        except HubError as refusal:
            wire = (refusal.path or "").removeprefix("data.")
            refused[wire] = refused.get(wire, 0) + 1
            if wire not in data or refused[wire] >= TRIES:
                raise
            continue
        return str(write.id)


async def seed(parts: Assembled, account: str, found: Audit) -> dict[str, str]:
    """Make a record of every type; return their ids."""
    services = parts.hub.services
    ids: dict[str, str] = {"account": account}
    waiting = [kind for kind in services.registry.types.values() if kind.name not in ids]
    while waiting:
        later: list[RecordType] = []
        for kind in waiting:
            rec = await make(parts, account, kind, ids)
            if rec is None:
                later.append(kind)
            else:
                ids[kind.name] = rec
        if len(later) == len(waiting):
            found.problems += [f"{kind.name}: no record of it could be made" for kind in later]
            break
        waiting = later
    found.types = len(ids)
    return ids


def requests_of(registry: Registry, kind: RecordType, rec: str, ids: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield every request about a record; what takes it away comes last."""
    t, one = kind.name, {"type": kind.name, "rec": rec}
    parent = {"type": kind.parent.name, "rec": ids[kind.parent.name]} if kind.parent is not None else None
    include: dict[str, Any] = dict.fromkeys((*(["parent"] if parent else []), *kind.steps), True)
    children = [child.name for child in registry.children(kind)]
    include |= {"children": dict.fromkeys(children[:8], True)} if children else {}
    text = next((w for w in kind.writable if kind.fields[w].kind == "text" and not kind.fields[w].choices), None)
    values = {"n": "count"} | {
        f"most_{n}": {"max": w} for n, w in enumerate(sorted(kind.sortable)) if kind.kinds[w] not in {"id", "ref"}
    }
    yield {"op": "watch.start", "type": t}
    yield {"op": "watch.start", "type": t, "order": ["id"], "limit": 5}
    yield {"op": "record.get", **one, "include": dict(list(include.items())[:9])}
    for view in kind.views:
        yield {"op": "record.find", "type": t, "view": view, "count": True}
    yield {"op": "record.find", "type": t, "order": ["-id"], "limit": 1, "count": True}
    yield {"op": "record.find", "type": t, "where": {"id": 5}}
    yield {"op": "record.aggregate", "type": t, "values": dict(list(values.items())[:20]), "group": "created_by"}
    if kind.searchable:
        yield {"op": "record.search", "q": "a*", "types": [t]}
    yield {"op": "channel.join", "channel": f"{t}:{rec}", "presence": {"state": {}}}
    yield {"op": "presence.roster", "channel": f"{t}:{rec}"}
    yield {"op": "presence.update", "channel": f"{t}:{rec}", "state": {"at": 1}}
    for op in ("lock.take", "lock.keep", "lock.release"):
        yield {"op": op, **one}
    change = {"data": {text: "audit two"} if text is not None else {}}
    yield {"op": "record.update", **one, **change}
    yield {"op": "record.update_where", "type": t, "where": {"id": rec}, "limit": 5, **change}
    yield {"op": "record.batch", "ops": [{"op": "record.update", **one, **change}]}
    yield {"op": "record.revert", **one, "version": 1}
    data = sample(kind, registry, ids) or {}
    data = {w: v for w, v in data.items() if not kind.fields[w].option.read_only}
    under = {"parent": parent} if parent else {}
    yield {"op": "record.create", "type": t, "data": data, **under}
    if kind.unique:
        match = [name for name in kind.unique[0] if name != kind.parent_wire]
        yield {"op": "record.upsert", "type": t, "data": data, "match": match, **under}
    if parent:
        yield {"op": "record.move", **one, "parent": parent}
    yield {"op": "manifest.get", "container": one}
    yield {"op": "file.grant", **one}
    yield {"op": "lookup.list", "lookup": "country", "for": one, "limit": 3}
    yield {"op": "record.history", **one}
    yield {"op": "channel.leave", "channel": f"{t}:{rec}"}
    for op in ("record.delete", "record.restore"):
        yield {"op": op, **one}
    yield {"op": "record.get", **one, "deleted": True}
    yield {"op": "record.delete_where", "type": t, "where": {"id": rec}, "limit": 5}


def requests_of_all(registry: Registry, me: str) -> Iterator[dict[str, Any]]:
    """Yield the requests that are about no record by itself."""
    yield {"op": "session.beat"}
    yield {"op": "session.auth", "token": "none"}
    yield {"op": "schema.describe"}
    yield {"op": "lookup.list", "lookup": "country", "limit": 3}
    yield {"op": "lookup.resolve", "lookup": "country", "q": "DE"}
    yield {"op": "presence.status", "users": [me], "devices": [me]}
    yield {"op": "feed.start", "name": "audit", "since": 0}
    yield {"op": "feed.ack", "name": "audit", "seq": 0}
    yield {"op": "feed.stop", "name": "audit"}
    yield {"op": "watch.stop", "watch": "none"}
    yield {"op": "client.call", "to": {"user": me}, "command": "NONE"}
    yield {"op": "client.reply", "command": 1}
    yield {"op": "channel.send", "channel": "event:none", "event": "said", "data": 1}
    for name in registry.actions:
        yield {"op": "action.call", "action": name, "args": {"nothing": 1}}


class Looker:
    """Asks for everything as somebody who may everything, with what the hub's own machine may."""

    def __init__(self, parts: Assembled, found: Audit) -> None:
        self.parts, self.found = parts, found
        self.outlet = Outlet(JSON, lambda: None)
        self.peer = Peer(operator=True, outlet=self.outlet)
        self.answered: set[str] = set()
        self.asked: set[str] = set()

    async def hello(self, account: str, token: str | None) -> None:
        """Begin a session in an account, of a key or of the operator, with every permission that there is."""
        await self.ask({"op": "session.hello", "account": account, **({"token": token} if token else {})})
        services = self.parts.hub.services
        every = frozenset(f"{n}.{v}" for n, kind in services.registry.types.items() for v in kind.access.rules())
        owner = services.rights.of("owner")
        rights = Rights(services.registry, "owner", every | owner.permissions, owner._hidden, {})
        self.peer.rights = rights
        if self.peer.session is not None:
            self.peer.session.rights = rights

    def told(self, body: dict[str, Any]) -> None:
        """Take in a refusal; there is nothing to be done about it."""

    async def ask(self, request: dict[str, Any]) -> Any:
        """Ask, and look at what is answered and pushed; return the answer's data."""
        op = request["op"]
        label = " ".join(str(request.get(name, "")) for name in ("op", "type", "action")).strip()
        self.asked.add(op)
        data: Any = None
        operations, services = self.parts.hub.operations, self.parts.hub.services
        try:
            answer = await operations.run(Call(services, self.peer, 1), convert({"id": 1, **request}))
            body: dict[str, Any] = {"op": "ok", "id": 1, "data": answer.data, "seq": answer.seq}
            data = answer.data
            self.answered.add(op)
            self.outlet.answer(JSON.encode(body))
            if answer.then is not None:
                answer.then()
        except HubError as refusal:
            self.told(refusal.body())
            self.outlet.answer(JSON.encode({"op": "error", "id": 1, **refusal.body()}))
        while (frame := self.outlet.take()) is not None:
            push = b'"id":1' not in frame[:40]
            self.found.pushes += push
            self.found.answers += not push
            self.found.look(label, frame)
        return data


def audit(settings: Settings, folder: Path) -> Audit:
    """Make a hub in a folder, ask it for everything, and return what was found."""
    found = Audit()
    quiet = msgspec.structs.replace(
        settings, data=str(folder), database_url="", redis_url="", durability="normal", port=0
    )  # fmt: skip
    with _keys_far_above():
        asyncio.run(_run(assemble(quiet, DataFolder(folder)), found))
    _check_keys(folder, found)
    return found


async def _run(parts: Assembled, found: Audit) -> None:
    await parts.storage.start()
    await parts.hub.services.live.start()
    try:
        await _walk(parts, found)
    finally:
        await parts.hub.services.live.close()
        await parts.storage.close()


async def _walk(parts: Assembled, found: Audit) -> None:
    services, looker = parts.hub.services, Looker(parts, found)
    account = str((await people.create_account(services, "audit"))["id"])
    await people.create_user(services, account, "Audit", "owner")
    _, token = await people.create_api_key(services, account, "owner", "audit")
    ids = await seed(parts, account, found)
    for place, key in ((account, token), (SYSTEM, None)):
        await looker.hello(place, key)
        kinds = [kind for kind in services.registry.types.values() if kind.system == (place == SYSTEM)]
        for kind in reversed(kinds):  # children before what they belong to
            if kind.name in ids:
                for request in requests_of(services.registry, kind, ids[kind.name], ids):
                    await looker.ask(request)
                session = looker.peer.session
                for watch in list(session.watches) if session is not None else ():
                    await looker.ask({"op": "watch.stop", "watch": watch})
        for request in requests_of_all(services.registry, OPERATOR.name):
            await looker.ask(request)
    found.operations = len(looker.asked)
    found.problems += [f"{op}: it was not asked" for op in sorted(OPERATIONS.keys() - looker.asked)]
    found.problems += [f"{op}: nothing but refusals" for op in sorted(OPERATIONS.keys() - looker.answered - _TOP)
                       if op not in {"action.call"}]  # fmt: skip


class _keys_far_above:
    """While it is entered, the keeper on SQLite gives internal keys from `BASE` on."""

    def __enter__(self) -> None:
        self._last, self._take = Group._last, Group._take
        last, take = self._last, self._take

        def far(group: Group, kind: str) -> int:
            return max(last(group, kind), BASE)

        def first(group: Group, table: str, text: str, count: int) -> int:
            known = group._memory.last_pk
            known[table] = max(known.get(table, 0), BASE)
            return take(group, table, text, count)

        setattr(Group, "_last", far)  # noqa: B010  # the audit's own process, and nothing else runs in it
        setattr(Group, "_take", first)  # noqa: B010

    def __exit__(self, *_: object) -> None:
        setattr(Group, "_last", self._last)  # noqa: B010
        setattr(Group, "_take", self._take)  # noqa: B010


def _check_keys(folder: Path, found: Audit) -> None:
    """Note where keys were not given from `BASE` on: then nothing was looked for."""
    connection = sqlite3.connect(f"file:{folder / 'hub.db'}?mode=ro", uri=True)
    try:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}  # our tables
            if "pk" in columns:
                (least,) = connection.execute(f"SELECT min(pk) FROM {table}").fetchone()
                if least is not None and least < BASE:
                    found.problems.append(f"{table}: its keys begin at {least}, so they would not be known again")
    finally:
        connection.close()
