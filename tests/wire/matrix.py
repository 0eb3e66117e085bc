"""Two accounts, and every way to point from one at what the other has.

A case is built twice: once with the ids that the other account has, once with ids that nobody has. Whoever may not
know of the other account gets the same answer to both, and none of them shows anything of the other account. The
cases are enumerated from the registry and the table of requests, so that a new type, reference, action or operation
without a case is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hub.schema.record import RecordType, referred
from hub.schema.registry import Registry
from tests.wire.matrix_people import people_cases
from tests.wire.matrix_presence import presence_cases
from tests.wire.samples import SAMPLES
from tests.wire.things import Case, Fields, Things


def _named(own: Things) -> Fields:
    return {"name": "mine"}


@dataclass
class Book:
    """All cases over one registry; `own` is what the asking account has itself."""

    registry: Registry
    own: Things
    cases: list[Case] = field(default_factory=list)

    def add(self, op: str, vector: str, build: Callable[[Things], Fields]) -> None:
        """Add a case."""
        self.cases.append(Case(op, vector, build))


def cases_of(registry: Registry, own: Things) -> list[Case]:
    """Return every case; deletions come last, so that a hub that leaks still has what the others point at."""
    book = Book(registry, own)
    for kind in registry.types.values():
        of_record(book, kind.name)
        if kind.parent is not None:
            of_parent(book, kind, kind.parent.name)
        for wire, target in references(kind):
            _of_reference(book, kind.name, wire, target)
        open_to = ["event", "event_track"] if "for_id" in kind.fields else []  # rows of lookups are for any type
        for target in [other.name for other in kind.for_types] or open_to:
            of_target(book, kind.name, target)
    _of_batches(book)
    _of_uniques(book)
    _of_live(book)
    _of_files(book)
    _of_lookups(book)
    _of_actions(book)
    _of_session(book)
    return sorted(book.cases, key=lambda case: case.op in {"record.delete", "record.delete_where"})


def _of_lookups(book: Book) -> None:
    for t in book.registry.types:
        book.add("lookup.list", f"for a {t}", partial(_for, t, limit=5))
        book.add("lookup.resolve", f"for a {t}", partial(_for, t, q="mine"))
    for lookup in sorted(book.registry.lookups):
        book.add("lookup.resolve", f"{lookup} by id", partial(_meant, lookup))
        book.add("lookup.list", f"{lookup} of this account", partial(_called, lookup))
    for t in ("lookup_row", "lookup_policy"):
        book.add("record.find", f"{t} for an event", partial(_laid, t))
        book.add("watch.start", f"{t} for an event", partial(_laid, t))


def _meant(lookup: str, things: Things) -> Fields:
    return {"lookup": lookup, "q": things.records["lookup_row"], "part_of": things.records["event"]}


def _called(lookup: str, things: Things) -> Fields:
    return {"lookup": lookup, "q": things.name, "include_disabled": True}


def _laid(t: str, things: Things) -> Fields:
    return {"type": t, "where": {"for_id": things.records["event"]}}


def _for(t: str, things: Things, **more: Any) -> Fields:
    return {"lookup": "country", "for": {"type": t, "rec": things.records[t]}, **more}


def references(kind: RecordType) -> Iterator[tuple[str, str]]:
    """Yield each reference of a type: its wire name and the type it refers to."""
    for wire, spec in kind.fields.items():
        if spec.ref is not None:
            yield wire, referred(spec).name


def of_record(book: Book, t: str) -> None:
    """Add every way to point at a record of a type by its id."""

    def rec(things: Things, **more: Any) -> Fields:
        return {"type": t, "rec": things.records[t], **more}

    sample = SAMPLES.get(t, _named)
    change: Fields = {"title": "mine"} if t in {"event", "event_session"} else {"name": "mine"}
    if t == "lookup_policy":
        change = {"codes": ["mine"]}
    book.add("record.get", f"{t} by id", rec)
    book.add("record.get", f"{t} by id, deleted too", lambda x: rec(x, deleted=True, fields=["id"]))
    book.add("record.find", f"{t} by id", lambda x: {"type": t, "where": {"id": x.records[t]}, "count": True})
    book.add("record.find", f"{t} by id, a capped count", lambda x: {
        "type": t, "where": {"id": x.records[t]}, "count": {"cap": 5},
    })  # fmt: skip
    for view in book.registry.types[t].views:
        book.add("record.get", f"{t} by id, as {view}", partial(rec, view=view))
        book.add("record.find", f"{t} as {view}", partial(_seen, t, view))
    book.add("record.find", f"{t} among ids", lambda x: {
        "type": t, "where": {"id": {"$in": [x.records[t], book.own.records[t]]}}, "deleted": True, "count": True,
    })  # fmt: skip
    book.add("record.find", f"{t} not by id", lambda x: {"type": t, "where": {"$not": {"id": x.records[t]}}})
    book.add("record.find", f"{t} by account", lambda x: {"type": t, "where": {"account_id": x.account}})
    if book.registry.types[t].searchable:
        book.add("record.search", f"{t} by word and id", lambda x: {
            "q": "canary", "types": [t], "where": {"id": x.records[t]},
        })  # fmt: skip
        book.add("record.search", f"{t} by word", lambda x: {"q": x.acronym, "types": [t]})
    book.add("record.aggregate", f"{t} by id", lambda x: {
        "type": t, "where": {"id": x.records[t]}, "values": {"n": "count", "last": {"max": "updated_at"}},
    })  # fmt: skip
    book.add("record.aggregate", f"{t} in groups", lambda x: {
        "type": t, "where": {"id": x.records[t]}, "group": "id", "values": {"n": "count"},
    })  # fmt: skip
    book.add("record.update", f"{t} by id", lambda x: rec(x, data=change))
    book.add("record.update", f"{t} by id and version", lambda x: rec(x, data=change, if_version=7))
    book.add("record.update", f"{t}, nothing", lambda x: rec(x, data={}))
    book.add("record.delete", f"{t} by id", rec)
    book.add("record.delete", f"{t} by id and version", lambda x: rec(x, if_version=7))
    book.add("record.delete", f"{t} by id, hard", lambda x: rec(x, mode="hard"))
    book.add("record.restore", f"{t} by id", rec)
    for name, found in {"id": lambda x: x.records[t], "account_id": lambda x: x.account}.items():
        book.add("record.update_where", f"{t} by {name}", partial(_all_of, t, name, found, data=change))
        book.add("record.delete_where", f"{t} by {name}", partial(_all_of, t, name, found))
    book.add("record.revert", f"{t} by id", lambda x: rec(x, version=1))
    book.add("record.history", f"{t} by id", rec)
    book.add("record.history", f"{t} by id, a page", lambda x: rec(x, limit=1, after="AAAA"))
    book.add("record.create", f"{t} under an id that it has itself", lambda x: {
        "type": t, "data": {**sample(book.own), "id": x.records[t]},
    })  # fmt: skip
    book.add("record.create", f"{t} in another account", lambda x: {
        "type": t, "data": {**sample(book.own), "account_id": x.account},
    })  # fmt: skip
    book.add("watch.start", f"{t} by id", lambda x: {"type": t, "where": {"id": x.records[t]}})
    for op in ("channel.join", "channel.leave", "presence.update"):
        book.add(op, f"channel of a {t}", lambda x: {"channel": f"{t}:{x.records[t]}"})
    book.add("channel.join", f"channel of a {t}, seen", lambda x: {
        "channel": f"{t}:{x.records[t]}", "presence": {"state": {"page": 1}}, "recover": {"epoch": "e", "offset": 0},
    })  # fmt: skip
    book.add("channel.send", f"channel of a {t}", lambda x: {
        "channel": f"{t}:{x.records[t]}", "event": "said", "data": 1,
    })  # fmt: skip
    for op in ("lock.take", "lock.keep", "lock.release"):
        book.add(op, f"{t} by id", rec)
    book.add("lock.take", f"{t} by id, away from who has it", lambda x: rec(x, steal=True))
    book.add("file.grant", f"{t} by id", rec)
    book.add("manifest.get", f"{t} by id", lambda x: {"container": {"type": t, "rec": x.records[t]}})


def _all_of(t: str, name: str, found: Callable[[Things], str], things: Things, **more: Any) -> Fields:
    return {"type": t, "where": {name: found(things)}, "limit": 1000, **more}


def _seen(t: str, view: str, things: Things) -> Fields:
    return {"type": t, "where": {"id": things.records[t]}, "view": view, "count": True}


def of_parent(book: Book, kind: RecordType, parent: str) -> None:
    """Add every way to point at a record by what belongs to it, and the other way round."""
    t, wire = kind.name, kind.parent_wire or ""
    sample = SAMPLES.get(t, _named)

    def under(things: Things) -> Fields:
        return {"type": parent, "rec": things.records[parent]}

    book.add("record.find", f"{t} under a parent", lambda x: {"type": t, "parent": under(x)})
    book.add("record.find", f"{t} by parent", lambda x: {"type": t, "where": {wire: x.records[parent]}})
    book.add("record.find", f"{t} by a step to the parent", lambda x: {
        "type": t, "where": {"parent": {"id": x.records[parent]}}, "count": True,
    })  # fmt: skip
    book.add("record.find", f"{parent} by a step to a {t}", lambda x: {
        "type": parent, "where": {"children": {"type": t, "$some": {"id": x.records[t]}}}, "count": True,
    })  # fmt: skip
    book.add("record.get", f"{t} with its parent", lambda x: {
        "type": t, "rec": x.records[t], "include": {"parent": True},
    })  # fmt: skip
    book.add("record.get", f"{parent} with its {t}", lambda x: {
        "type": parent, "rec": x.records[parent], "include": {"children": {t: True}},
    })  # fmt: skip
    book.add("record.aggregate", f"{t} under a parent", lambda x: {
        "type": t, "parent": under(x), "group": wire, "values": {"n": "count"},
    })  # fmt: skip
    book.add("record.find", f"{t} by two steps", lambda x: {
        "type": t, "where": {"parent": {"children": {"type": t, "$some": {"id": x.records[t]}}}}, "deleted": True,
    })  # fmt: skip
    book.add("record.delete_where", f"{t} by a step to the parent", lambda x: {
        "type": t, "where": {"parent": {"id": x.records[parent]}}, "limit": 10,
    })  # fmt: skip
    book.add("watch.start", f"{t} under a parent", lambda x: {"type": t, "parent": under(x)})
    book.add("watch.start", f"{t} by parent", lambda x: {"type": t, "where": {wire: x.records[parent]}})
    book.add("record.create", f"{t} under a parent", lambda x: {
        "type": t, "parent": under(x), "data": sample(book.own),
    })  # fmt: skip
    book.add("record.create", f"{t} with a parent in data", lambda x: {
        "type": t, "parent": under(book.own), "data": {**sample(book.own), wire: x.records[parent]},
    })  # fmt: skip
    book.add("record.update", f"{t} to a parent", lambda x: {
        "type": t, "rec": book.own.records[t], "data": {wire: x.records[parent]},
    })  # fmt: skip
    book.add("record.move", f"{t} to a parent", lambda x: {
        "type": t, "rec": book.own.records[t], "parent": under(x),
    })  # fmt: skip
    book.add("record.move", f"{t} of another account", lambda x: {
        "type": t, "rec": x.records[t], "parent": under(book.own),
    })  # fmt: skip
    for unique in kind.unique:
        match = [name for name in unique if name != wire]
        book.add("record.upsert", f"{t} under a parent by {unique[-1]}", partial(_upsert, book, t, parent, match))


def _upsert(book: Book, t: str, parent: str, match: list[str], things: Things) -> Fields:
    data = SAMPLES.get(t, _named)(book.own)
    return {"type": t, "parent": {"type": parent, "rec": things.records[parent]}, "data": data, "match": match}


def _of_reference(book: Book, t: str, wire: str, target: str) -> None:
    parent = {"type": "event", "rec": book.own.records["event"]}
    sample = SAMPLES.get(t, _named)
    book.add("record.create", f"{t} with {wire}", lambda x: {
        "type": t, "parent": parent, "data": {**sample(book.own), wire: x.records[target]},
    })  # fmt: skip
    book.add("record.update", f"{t} with {wire}", lambda x: {
        "type": t, "rec": book.own.records[t], "data": {wire: x.records[target]},
    })  # fmt: skip
    book.add("record.find", f"{t} by {wire}", lambda x: {"type": t, "where": {wire: x.records[target]}, "count": True})
    book.add("record.find", f"{t} by a step over {wire}", lambda x: {
        "type": t, "where": {wire.removesuffix("_id"): {"id": x.records[target]}}, "count": True,
    })  # fmt: skip
    book.add("watch.start", f"{t} by {wire}", lambda x: {"type": t, "where": {wire: {"$in": [x.records[target]]}}})


def of_target(book: Book, t: str, target: str) -> None:
    """Add every way to point at a record as what another one is for."""
    sample = SAMPLES.get(t, _named)

    def given(things: Things) -> Fields:
        return {"for_type": target, "for_id": things.records[target]}

    book.add("record.create", f"{t} for a {target}", lambda x: {"type": t, "data": {**sample(book.own), **given(x)}})
    book.add("record.update", f"{t} for a {target}", lambda x: {
        "type": t, "rec": book.own.records[t], "data": given(x),
    })  # fmt: skip
    book.add("record.find", f"{t} for a {target}", lambda x: {"type": t, "where": given(x), "count": True})
    book.add("watch.start", f"{t} for a {target}", lambda x: {"type": t, "where": given(x)})


def _of_batches(book: Book) -> None:
    own = book.own.records
    good = {"op": "record.create", "type": "event", "data": {"title": "mixed"}}

    def batch(vector: str, item: Callable[[Things], Fields]) -> None:
        book.add("record.batch", f"{vector} by itself", lambda x: {"ops": [item(x)], "atomic": False})
        book.add("record.batch", f"{vector} alone", lambda x: {"ops": [item(x)]})
        book.add("record.batch", f"{vector} among others", lambda x: {"ops": [good, item(x), good]})

    batch("update", lambda x: {
        "op": "record.update", "type": "event", "rec": x.records["event"], "data": {"title": "m"},
    })  # fmt: skip
    batch("delete", lambda x: {"op": "record.delete", "type": "event_track", "rec": x.records["event_track"]})
    batch("restore", lambda x: {"op": "record.restore", "type": "event_track", "rec": x.records["event_track"]})
    batch("revert", lambda x: {
        "op": "record.revert", "type": "event", "rec": x.records["event"], "version": 1,
    })  # fmt: skip
    batch("create under a parent", lambda x: {
        "op": "record.create", "type": "event_location", "data": {"name": "m"},
        "parent": {"type": "event", "rec": x.records["event"]},
    })  # fmt: skip
    batch("create with a reference", lambda x: {
        "op": "record.create", "type": "event_session", "parent": {"type": "event", "rec": own["event"]},
        "data": {"title": "m", "track_id": x.records["event_track"]},
    })  # fmt: skip
    batch("upsert under a parent", lambda x: {
        "op": "record.upsert", "type": "event_session", "parent": {"type": "event", "rec": x.records["event"]},
        "data": {"title": "m", "guid": x.guid}, "match": ["guid", "event_id"],
    })  # fmt: skip


def _of_uniques(book: Book) -> None:
    event = {"type": "event", "rec": book.own.records["event"]}
    book.add("record.find", "event by acronym", lambda x: {
        "type": "event", "where": {"acronym": x.acronym, "title": {"$starts": "canary"}}, "count": True,
    })  # fmt: skip
    book.add("record.find", "session by guid", lambda x: {
        "type": "event_session", "where": {"guid": x.guid, "title": {"$starts": "canary"}}, "count": True,
    })  # fmt: skip
    book.add("record.find", "accounts by name", lambda x: {"type": "account", "where": {"name": x.name}})
    book.add("record.find", "files by hash", lambda x: {"type": "event_file", "where": {"sha256": x.sha256}})
    book.add("watch.start", "files by hash", lambda x: {"type": "event_file", "where": {"sha256": x.sha256}})
    book.add("record.search", "anything by the acronym", lambda x: {"q": x.acronym, "limit": 1000})
    book.add("record.search", "anything by the beginning of a title", lambda x: {"q": "can*", "after": x.mark})
    book.add("record.create", "event with the acronym", lambda x: {
        "type": "event", "data": {"title": "mine", "acronym": x.acronym},
    })  # fmt: skip
    book.add("record.upsert", "event by acronym", lambda x: {
        "type": "event", "data": {"title": "mine", "acronym": x.acronym}, "match": ["acronym"],
    })  # fmt: skip
    book.add("record.upsert", "session by guid", lambda x: {
        "type": "event_session", "data": {"title": "mine", "guid": x.guid}, "match": ["event_id", "guid"],
        "parent": event,
    })  # fmt: skip
    book.add("record.upsert", "person by source id", lambda x: {
        "type": "event_person", "data": {"name": "mine", "source_id": x.person}, "match": ["event_id", "source_id"],
        "parent": event,
    })  # fmt: skip
    book.add("record.create", "a used key", lambda x: {"type": "event", "data": {"title": "mine"}, "key": x.key})


def _of_live(book: Book) -> None:
    own = book.own.records
    book.add("watch.start", "since a mark", lambda x: {"type": "event", "since": {"mark": x.mark, "seq": 1}})
    book.add("watch.start", "a window with what it has", lambda x: {
        "type": "event", "order": ["title"], "limit": 3,
        "since": {"mark": x.mark, "seq": 1, "have": {x.records["event"]: 1}},
    })  # fmt: skip
    book.add("watch.stop", "a watch", lambda x: {"watch": x.watch})
    book.add("feed.start", "a name", lambda x: {"name": x.name})
    book.add("feed.start", "another history", lambda x: {"name": "mine", "since": {"epoch": x.mark[:32], "seq": 1}})
    book.add("feed.ack", "a name", lambda x: {"name": x.name, "seq": 1})
    book.add("feed.stop", "a name", lambda x: {"name": x.name, "forget": True})
    for op, vector, build in presence_cases(own["event"]):
        book.add(op, vector, build)

    def say(vector: str, channel: str, target: Callable[[Things], Fields]) -> None:
        book.add("channel.send", vector, lambda x: {"channel": channel, "event": "said", "data": 1, "to": target(x)})

    say("to a user", "cursors:shared", lambda x: {"user": x.records["user"]})
    say("to a device", f"event:{book.own.records['event']}", lambda x: {"device": x.records["api_key"]})
    book.add("channel.join", "a name that both use", lambda x: {"channel": "audience:shared"})
    book.add("channel.join", "a place of the other", lambda x: {
        "channel": "audience:shared", "recover": {"epoch": x.mark[:32], "offset": 1},
    })  # fmt: skip
    for kind, found in (
        ("user", lambda x: x.records["user"]),
        ("device", lambda x: x.records["api_key"]),
        ("session", lambda x: x.session),
    ):
        book.add("client.call", f"a {kind}", partial(_asked, kind, found))
        if kind != "session":
            book.add("client.call", f"a {kind} when it returns", partial(_asked, kind, found, queue_seconds=0.05))
    book.add("client.call", "a file", lambda x: {
        "to": {"user": book.own.records["user"]}, "command": "OPEN_FILE", "data": {"file": x.records["event_file"]},
    })  # fmt: skip
    book.add("client.reply", "a command", lambda x: {"command": 1, "data": {"event": x.records["event"]}})
    book.add("schema.describe", "a hash", lambda x: {"have": x.mark})


def _asked(kind: str, found: Callable[[Things], str], things: Things, **more: Any) -> Fields:
    return {"to": {kind: found(things)}, "command": "RELOAD", "timeout": 0.5, **more}


def _of_files(book: Book) -> None:
    book.add("file.grant", "by hash", lambda x: {"hash": x.sha256, "ttl": 5})


def _of_actions(book: Book) -> None:
    own = book.own.records
    at = "2031-01-01T10:00:00Z"

    def action(name: str, vector: str, **given: Callable[[Things], Any]) -> None:
        book.add("action.call", f"{name}: {vector}", lambda x: {"action": name, **{n: f(x) for n, f in given.items()}})

    action(
        "event_session.reschedule", "a target",
        target=lambda x: {"type": "event_session", "rec": x.records["event_session"]},
        args=lambda x: {"starts_at": at},
    )  # fmt: skip
    action(
        "event_session.reschedule", "a location",
        target=lambda x: {"type": "event_session", "rec": own["event_session"]},
        args=lambda x: {"starts_at": at, "location": x.records["event_location"]},
    )  # fmt: skip
    action(
        "event.import_programme", "an acronym and its keys",
        args=lambda x: {"programme": {
            "event": {"acronym": x.acronym, "title": "mine"},
            "persons": [{"source_id": x.person, "name": "mine"}],
            "sessions": [{"guid": x.guid, "title": "mine"}],
        }},
    )  # fmt: skip
    action("search.reindex", "a type", args=lambda x: {"type": x.acronym})
    action("secrets.rotate", "nothing", args=lambda x: {})
    action("account.create", "a taken name", args=lambda x: {"name": x.name})
    action("signin.link", "an account", args=lambda x: {"account": x.name})
    action("signin.link", "a user", args=lambda x: {"account": "main", "user": x.records["user"]})
    action("files.collect", "a time", args=lambda x: {"grace_hours": 1})
    action("database.dump", "a folder", args=lambda x: {"folder": x.name})
    action(
        "records.import",
        "ids and parents",
        args=lambda x: {
            "check": True,
            "lines": [
                {"type": "event", "id": x.records["event"], "data": {"title": "mine"}},
                {"type": "event_track", "id": "a" * 11, "parent": x.records["event"], "data": {"name": "mine"}},
            ],
        },
    )
    action("user.create", "an account", args=lambda x: {"name": x.account, "role": "owner"})
    action("user.role", "a user", args=lambda x: {"user": x.records["user"], "role": "viewer"})
    action("user.remove", "a user", args=lambda x: {"user": x.records["user"]})
    action("user.disable", "a user", args=lambda x: {"user": x.records["user"]})
    action("user.sign_out", "a user", args=lambda x: {"user": x.records["user"]})
    action("api_key.issue", "a name", args=lambda x: {"name": x.acronym, "role": "viewer"})
    action("api_key.issue", "an account", args=lambda x: {"role": "viewer", "account": x.account})
    action("secrets.rotate", "an account", args=lambda x: {"account": x.account})
    action("domain.add", "an account", args=lambda x: {"host": "x.example", "account": x.name})
    action("domain.remove", "a host", args=lambda x: {"host": "x.example"})
    action("domain.list", "an account", args=lambda x: {"account": x.account})
    action("account.of_host", "a host", args=lambda x: {"host": x.name})
    action("device.pair", "an account", args=lambda x: {"name": x.name, "account": x.account})
    action("device.confirm", "a code", args=lambda x: {"code": x.acronym})
    action("device.paired", "an id as secret", args=lambda x: {"secret": x.records["pairing"]})
    for name, vector, build in people_cases():
        action(name, vector, args=build)


def _of_session(book: Book) -> None:
    book.add("session.hello", "an account's id", lambda x: {"account": x.account})
    book.add("session.hello", "an account's name", lambda x: {"account": x.name})
    book.add("session.hello", "a session to come back to", lambda x: {"resume": x.resume})
    book.add("session.auth", "an id as token", lambda x: {"token": x.records["api_key"]})
