"""What rights cost, in this process and without sockets: for one request, and for one commit that many watch.

Time is CPU time: nothing here waits.
"""

from __future__ import annotations

import time
from itertools import count
from typing import Annotated, Any, Final

from benchmarks.load import Reading
from channels.outlet import Outlet
from channels.watches import Watches, WatchQuery
from handlers.base import Call, Peer
from hub import Access, Record
from hub.access import Identity, RightsTable
from hub.schema.access import Rows
from hub.schema.fields import Field
from hub.schema.record import RecordType, type_of
from hub.schema.registry import Registry
from hub.schema.where import both, parse_where
from hub.schema.writes import ChangeRow, ChangeSet
from hub.wire.codec import JSON

SOCKETS: Final = 1000
REQUESTS: Final = 2000
_AT: Final = "2026-11-21T09:00:00.000Z"
ACCOUNT: Final = "account"
ME: Final = Identity("user", user="user0000001", roles=((ACCOUNT, "editor"),))


class BenchPlain(Record, access=Access(read="viewer", create="editor", update="editor", delete="editor")):
    """What everybody who may read it sees whole."""

    name: str
    sort: int = 0
    note: str = ""


class BenchRuled(
    Record,
    access=Access(
        read="viewer", create="editor", update="editor", delete="editor",
        rows=(Rows(verbs=("read", "update", "delete"), where={"created_by": {"$ref": "me.id"}}),),
    ),
):  # fmt: skip
    """What only they see who made it, and not all of it."""

    name: str
    sort: int = 0
    note: Annotated[str, Field(hidden_from="editor")] = ""


def _registry() -> Registry:
    registry = Registry.of(["hub.schema.core"])
    for declared in (BenchPlain, BenchRuled):
        registry.add_type(type_of(declared))
    registry.check()
    return registry


class _Parts:
    """What a call asks of the services."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry


def run_requests(seconds: float, *, ruled: bool = False, kept: bool = True) -> Reading:
    """Return how often a second it is found out what a request may: a message is one request.

    `ruled`: of a type with a row rule and a hidden field, by somebody with a role of the account's own. Without
    `kept`, the rights are made for each request.
    """
    registry = _registry()
    table, parts = RightsTable(registry), _Parts(registry)
    patterns = ["bench_ruled.read", "bench_ruled.update", "bench_ruled.create", "event*.read"]
    image = {"account_id": ACCOUNT, "id": "role0000001", "version": 1, "name": "own", "permissions": patterns}
    name = "bench_ruled" if ruled else "bench_plain"
    rights = table.own(image) if ruled else table.of("editor")
    peer = Peer(identity=ME, account=ACCOUNT, role="own", rights=rights)
    done, spent = 0, 0.0
    while spent < seconds:
        begin = time.process_time()
        for _ in range(REQUESTS if kept else 20):
            if not kept:
                peer.rights = table.made_of("own", patterns)
            call = Call(parts, peer)  # type: ignore[arg-type]  # what is asked of the services is there
            kind = call.kind(name, "update")
            call.rights.hidden(kind)
            if kind.name in call.rights.weighed:
                call.rules.node(kind, "update")
            done += 1
        spent += time.process_time() - begin
    return Reading(done, spent, spent, [])


def _image(kind: RecordType, n: int) -> dict[str, Any]:
    base = {"id": f"record{n:05}", "type": kind.name, "version": 1, "account_id": ACCOUNT}
    times = {"created_at": _AT, "updated_at": _AT, "created_by": ME.user, "updated_by": ME.user, "deleted_at": None}
    return {**base, **kind.accept_create({"name": f"talk {n}", "sort": n, "note": "said"}), **times}


def run_fan(seconds: float, *, ruled: bool = False, apart: bool = False) -> Reading:
    """Return how many deliveries a second 1,000 sockets get that watch one type: a message is one delivery.

    `ruled`: of a type with a row rule and a hidden field. `apart`: each socket has rights that no other has, so that
    they are looked at for each socket.
    """
    registry = _registry()
    kind = registry.types["bench_ruled" if ruled else "bench_plain"]
    rights = RightsTable(registry).of("editor")
    watches = Watches()
    outlets = [Outlet(JSON, lambda: None) for _ in range(SOCKETS)]
    rule = rights.rules_for(ME, ACCOUNT).node(kind, "read")
    for n, outlet in enumerate(outlets):
        own = parse_where(kind, {"sort": {"$ne": -n - 1}}) if apart else parse_where(kind, None)
        group = watches.group(WatchQuery(ACCOUNT, kind, both(rule, own), None, rights, rule=rule))
        group.outlets[outlet] = 1
    done, spent = 0, 0.0
    for n in count():
        after = {**_image(kind, n % 500), "version": 2, "sort": n}
        row = ChangeRow(0, kind.name, after["id"], "update", 2, after, {"version": 1, "sort": n - 1})
        commit = ChangeSet(ACCOUNT, n + 1, _AT, None, None, None, (row,))
        begin = time.process_time()
        watches.tell(commit)
        spent += time.process_time() - begin
        for outlet in outlets:
            while outlet.take() is not None:
                done += 1
        if spent >= seconds:
            return Reading(done, spent, spent, [])
    raise AssertionError("it never ends by itself")
