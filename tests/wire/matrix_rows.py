"""Two people in one account, and every way to point from one at what the other keeps: the adversary of row rules.

As in the matrix of two accounts, each case is asked with the id of a record that a rule hides and with one that nobody
has: the answers must mean the same, and show nothing of the record. `neighbours` are the ways that need more than a
request: what points to a hidden record, what may be read but not written, what is told to who listens.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import httpx

from hub.schema.registry import Registry
from tests.wire.matrix import Book, of_parent, of_record, of_target
from tests.wire.posts import Posts
from tests.wire.talk import Client, Refused, connected
from tests.wire.things import Case, Fields, Things, nothing
from tests.wire.worlds import CANARY, Place, Worlds, authority, issue

PACK: Final = "packs.events,tests.wire.diaries"
RULED: Final = ("diary", "diary_page", "diary_file")


@dataclass
class Kept(Things):
    """What somebody keeps in an account that others are in as well."""

    @property
    def secrets(self) -> list[str]:
        """What the others may not be shown."""
        return [value for value in (self.sha256, *(self.records[t] for t in RULED)) if value]


def row_cases(registry: Registry, own: Things) -> list[Case]:
    """Return every case, deletions last."""
    book = Book(registry, own)
    for t in RULED:
        kind = registry.types[t]
        of_record(book, t)
        if kind.parent is not None:
            of_parent(book, kind, kind.parent.name)
        book.add("lookup.list", f"for a {t}", partial(_looked_up, t))
    for target in ("diary", "diary_page"):
        of_target(book, "diary_mark", target)
    for t, wire in (("diary_page", "see_id"), ("desk", "diary_id")):
        _of_reference(book, t, wire)
    book.add("record.search", "anything by a word", lambda x: {"q": x.acronym})
    book.add("record.aggregate", "diaries by name", lambda x: {
        "type": "diary", "where": {"name": {"$starts": "canary"}}, "group": "name", "values": {"n": "count"},
    })  # fmt: skip
    book.add("file.grant", "by hash", lambda x: {"hash": x.sha256, "ttl": 5})
    for action in ("diary.look", "diary.close"):
        book.add("action.call", f"{action}: a target", partial(_on, action))
        book.add("action.call", f"{action}: a page", partial(_with, action, own.records["diary"]))
    for op, more in (
        ("record.update", {"data": {"name": "m"}}), ("record.delete", {}), ("record.restore", {}),
        ("record.revert", {"version": 1}),
    ):  # fmt: skip
        book.add("record.batch", f"{op} by itself", partial(_batch, op, more))
    book.add("presence.update", "a change on vanishing", lambda x: {
        "channel": f"diary:{own.records['diary']}",
        "on_drop": [{"op": "record.update", "type": "diary", "rec": x.records["diary"], "data": {}}],
    })  # fmt: skip
    return sorted(book.cases, key=lambda case: case.op in {"record.delete", "record.delete_where"})


def _looked_up(t: str, things: Things) -> Fields:
    return {"lookup": "country", "for": {"type": t, "rec": things.records[t]}, "limit": 5}


def _on(action: str, things: Things) -> Fields:
    return {"action": action, "target": {"type": "diary", "rec": things.records["diary"]}}


def _with(action: str, diary: str, things: Things) -> Fields:
    target = {"type": "diary", "rec": diary}
    return {"action": action, "target": target, "args": {"page": things.records["diary_page"]}}


def _batch(op: str, more: dict[str, Any], things: Things) -> Fields:
    return {"ops": [{"op": op, "type": "diary", "rec": things.records["diary"], **more}], "atomic": False}


def _of_reference(book: Book, t: str, wire: str) -> None:
    parent = {"parent": {"type": "diary", "rec": book.own.records["diary"]}} if t == "diary_page" else {}
    book.add("record.create", f"{t} with {wire}", lambda x: {
        "type": t, "data": {"name": "mine", wire: x.records["diary"]}, **parent,
    })  # fmt: skip
    book.add("record.update", f"{t} with {wire}", lambda x: {
        "type": t, "rec": book.own.records[t], "data": {wire: x.records["diary"]},
    })  # fmt: skip
    book.add("record.update_where", f"{t} with {wire}", lambda x: {
        "type": t, "where": {"id": book.own.records[t]}, "data": {wire: x.records["diary"]}, "limit": 5,
    })  # fmt: skip
    book.add("record.find", f"{t} by a step over {wire}", lambda x: {
        "type": t, "where": {wire.removesuffix("_id"): {"id": x.records["diary"]}}, "count": True,
    })  # fmt: skip


async def _furnish(place: Place, http: httpx.AsyncClient, key: str, me: str, account: str, word: str) -> Kept:
    """Make a record of each type as somebody who keeps it; return what they have then."""

    async def ok(op: str, **fields: Any) -> Any:
        answer = (await http.post("/rpc", json={"op": op, "id": 1, **fields}, headers=authority(key))).json()
        assert answer["op"] == "ok", answer
        return answer["data"]

    body = f"the bytes of {word} {secrets.token_hex(4)}".encode()
    kept = Kept(account, "", {}, word, "", "", hashlib.sha256(body).hexdigest())
    made = await ok("record.create", type="diary", data={"name": f"{word} diary", "keeper": me, "code": word + me})
    kept.records["diary"] = made["id"]
    under = {"type": "diary", "rec": made["id"]}
    page = await ok("record.create", type="diary_page", parent=under, data={"name": f"{word} page"})
    put = await http.put(
        "/files", params={**under, "name": f"{word} file"}, content=body,
        headers={**authority(key),
                 "repr-digest": f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"},
    )  # fmt: skip
    assert put.status_code == 201, put.text
    kept.records |= {"diary_page": page["id"], "diary_file": put.json()["id"]}
    kept.records["desk"] = (await ok("record.create", type="desk", data={"name": "a desk"}))["id"]
    # What a record without a rule points to is read there by everybody, so only the one who asks has such a mark.
    mark = {"name": "a mark", "for_type": "diary", "for_id": made["id"]}
    kept.records["diary_mark"] = kept.records["desk"]
    if word != CANARY:
        kept.records["diary_mark"] = (await ok("record.create", type="diary_mark", data=mark))["id"]
    kept.records["event_session"] = kept.records["event"] = kept.records["api_key"] = me
    return kept


@asynccontextmanager
async def kept_in(place: Place, registry: Registry) -> AsyncIterator[Worlds]:
    """Make an account with two editors, each with records of their own; `own` is whose who asks."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=place.url, trust_env=False, timeout=20))
        posts = Posts(place.url)
        stack.push_async_callback(posts.close)
        account, chief = await place.make_account(f"shared-{secrets.token_hex(4)}")
        ann, key = await issue(http, chief, "editor")
        ben, other = await issue(http, chief, "editor")
        eye, viewer = await issue(http, chief, "viewer")
        own = await _furnish(place, http, key, ann, account, "mine")
        theirs = await _furnish(place, http, other, ben, account, CANARY)
        theirs.token = other
        holder = await stack.enter_async_context(connected(place.socket_url))
        await holder.greet(other)
        theirs.session = (holder.hello or {})["session"]
        for t in RULED:
            channel = f"{t}:{theirs.records[t]}"
            await holder.ok("channel.join", channel=channel, presence={"state": {"at": CANARY}})
            await holder.ok("lock.take", type=t, rec=theirs.records[t])
        plain = nothing(registry)
        absent = Kept(account, plain.name, plain.records, plain.acronym, plain.guid, plain.person, plain.sha256)
        absent.mark, absent.watch = plain.mark, plain.watch
        keys: dict[str, str | None] = {"editor": key, "viewer": viewer, "owner": chief, "eye": eye}
        yield Worlds(place, registry, http, posts, own, theirs, keys, holder, absent)


# -- what needs more than a request --------------------------------------------------------------------


async def neighbours(worlds: Worlds, codec: str = "json") -> list[str]:
    """Return what is wrong with what points to hidden records, may not be written, or is told to who listens."""
    found: list[str] = []
    place, theirs, own = worlds.place, worlds.theirs, worlds.own
    async with AsyncExitStack() as stack:
        ann = await stack.enter_async_context(connected(place.socket_url, codec))
        chief = await stack.enter_async_context(connected(place.socket_url, codec))
        await ann.greet(worlds.keys["editor"])
        await chief.greet(worlds.keys["owner"])
        for scene in (
            _pointing(found, ann, worlds.holder, theirs), _handed_over(found, ann, chief, worlds),
            _fed(found, chief, worlds, codec), _past(found, ann, chief, own.records["diary"], worlds),
            _shared(found, ann, worlds.holder, own.records["diary"]),
        ):  # fmt: skip
            try:
                await scene
            except Refused as refused:
                found.append(f"a scene: {refused}")
        for frame in ann.frames:
            raw = frame.encode() if isinstance(frame, str) else frame
            if CANARY.encode() in raw:
                found.append("a frame: shows what is hidden")
    return found


def _unlike(op: str, vector: str, answer: Any, expected: Any) -> list[str]:
    return [] if answer == expected else [f"editor {op}: {vector}: {answer} is not {expected}"]


async def _pointing(found: list[str], ann: Client, ben: Client, theirs: Things) -> None:
    """A desk that everybody sees, with a diary on it that only one does."""
    desk = (await ben.create("desk", name="his desk", diary_id=theirs.records["diary"]))["id"]
    shown = await ann.ok("record.get", type="desk", rec=desk, include={"diary": True})
    found += _unlike("record.get", "include", shown["include"], {"diary": None})
    shown = await ann.ok("record.get", type="desk", rec=desk, view="open")
    found += _unlike("record.get", "view", shown["diary_name"], None)
    steps: tuple[Fields, ...] = ({"diary": {"name": {"$starts": CANARY[:6]}}}, {"diary": {}})
    for where in steps:
        hits = await ann.ok("record.find", type="desk", where={"id": desk, **where}, count=True)
        found += _unlike("record.find", f"step {where}", hits["total"], 0)
    hits = await ann.ok("record.find", type="desk", where={"diary_name": {"$starts": "c"}}, view="open", count=True)
    found += _unlike("record.find", "view filter", hits["total"], 0)
    sorting = await ann.call("record.find", type="desk", order=["diary_name"], view="open")
    found += _unlike("record.find", "view order", sorting.get("code"), "order.invalid")
    rows = (await ann.ok("record.aggregate", type="desk", where={"diary": {}}, values={"n": "count"}))["rows"]
    found += _unlike("record.aggregate", "step", rows, [{"n": 0}])
    clash = await ann.call("record.create", type="diary", data={"name": "x", "code": CANARY + theirs.records["event"]})
    found += _unlike("record.create", "a taken value", clash.get("details"), {"unique": ["code"]})
    match = await ann.call("record.upsert", type="diary", match=["code"],
                           data={"name": "x", "code": CANARY + theirs.records["event"]})  # fmt: skip
    found += _unlike("record.upsert", "a taken value", match.get("code"), "record.exists")


async def _shared(found: list[str], ann: Client, ben: Client, own: str) -> None:
    """What may be read, but not written, says so; and is as it was."""
    mine = (await ben.ok("session.beat")) and (await ben.ok("record.find", type="diary", limit=1))["records"][0]
    open_to_all = await ben.create("diary", name="open", keeper=mine["keeper"], shared=True)
    rec = open_to_all["id"]
    new = {"data": {"name": "taken"}}
    for op, more in (
        ("record.update", new), ("record.delete", {}), ("record.delete", {"mode": "hard"}), ("lock.take", {}),
        ("record.revert", {"version": 1}), ("record.restore", {}),
        ("action.call", {"action": "diary.close", "target": {"type": "diary", "rec": rec}}),
    ):  # fmt: skip
        given = more if op == "action.call" else {"type": "diary", "rec": rec, **more}
        found += _unlike(op, "shared", (await ann.call(op, **given)).get("code"), "access.denied")
    for op in ("record.update_where", "record.delete_where"):
        more = new if op == "record.update_where" else {}
        answer = await ann.call(op, type="diary", where={"id": rec}, limit=5, **more)
        found += _unlike(op, "shared", answer.get("code"), "access.denied")
    item = {"op": "record.update", "type": "diary", "rec": rec, **new}
    answer = await ann.call("record.batch", ops=[item])
    found += _unlike("record.batch", "shared", (answer.get("code"), answer.get("path")), ("access.denied", "ops.0.rec"))
    given = (await ann.create("diary", name="mine", keeper=(await _me(ann)), shared=False))["id"]
    answer = await ann.call("record.update", type="diary", rec=given, data={"keeper": mine["keeper"]})
    found += _unlike("record.update", "away from oneself", (answer.get("code"), answer.get("path")),
                     ("access.denied", "data"))  # fmt: skip
    under = {"type": "diary", "rec": given}
    answer = await ann.call("record.create", type="diary_page", parent=under, data={"name": "x", "draft": False})
    found += _unlike("record.create", "against the rule", (answer.get("code"), answer.get("path")),
                     ("access.denied", "data"))  # fmt: skip
    answer = await ann.ok("record.get", type="diary", rec=rec)
    found += _unlike("record.get", "shared", answer["version"], 1)
    seen = (await ann.ok("record.find", type="diary", count=True))["total"]
    looked = await ann.ok("action.call", action="diary.look", target={"type": "diary", "rec": own})
    found += _unlike("action.call", "what an action finds", looked, {"count": seen})


async def _me(client: Client) -> str:
    found = await client.ok("record.find", type="desk", where={"name": "a desk"})
    mine = await client.ok("record.find", type="diary", where={"shared": False}, limit=1)
    assert found["records"]
    return str(mine["records"][0]["keeper"])


async def _handed_over(found: list[str], ann: Client, chief: Client, worlds: Worlds) -> None:
    """A change of keeper: who loses the diary hears that it left, with its id alone, and hears no more of it."""
    ann_id, ben_id = worlds.own.records["event"], worlds.theirs.records["event"]
    rec = (await ann.create("diary", name="to be given", keeper=ann_id))["id"]
    watches = [
        (await ann.ok("watch.start", type="diary", **more))["watch"]
        for more in ({}, {"where": {"id": rec}}, {"order": ["name"], "limit": 50})
    ]
    far = await chief.ok("watch.start", type="diary", where={"id": rec})
    resumed = (await ann.ok("watch.start", type="diary", where={"version": {"$gt": 0}})) | {"have": {}}
    await ann.ok("watch.stop", watch=resumed["watch"])
    await ann.ok("channel.join", channel=f"diary:{rec}", presence={"state": {}})
    await ann.ok("lock.take", type="diary", rec=rec)
    given = await chief.call("record.update", type="diary", rec=rec, data={"keeper": ben_id, "name": CANARY})
    at = given["seq"]
    await chief.ok("channel.join", channel=f"diary:{rec}")
    await chief.call("record.update", type="diary", rec=rec, data={"name": f"{CANARY} 2"})
    left = [{"kind": "leave", "rec": rec, "why": "rights"}]
    for watch in watches:
        found += _unlike("watch.start", "handed over", await ann.changes(watch), left)
    events = await chief.changes(far["watch"])
    found += _unlike("watch.start", "who manages", [e["kind"] for e in events], ["update", "update"])
    since = {"mark": resumed["mark"], "seq": at - 1}
    back = await ann.ok("watch.start", type="diary", where={"version": {"$gt": 0}}, since=since)
    found += _unlike("watch.start", "resumed", [e["events"] for e in back.get("events", [])], [left])
    window = await ann.ok("watch.start", type="diary", order=["-name"], limit=3)
    await ann.ok("watch.stop", watch=window["watch"])
    absent = worlds.absent.records["diary"]
    probe = {"mark": window["mark"], "seq": at, "have": {absent: 1, worlds.theirs.records["diary"]: 1}}
    back = await ann.ok("watch.start", type="diary", order=["-name"], limit=3, since=probe)
    gone = [e for each in back["events"] for e in each["events"] if e["kind"] == "leave"]
    found += _unlike("watch.start", "a window with what is hidden", {(e["why"], "version" in e) for e in gone},
                     {("rights", False)})  # fmt: skip
    beside = await chief.ok("watch.start", type="diary", where={"id": rec}, since={"mark": far["mark"], "seq": at})
    found += _unlike("watch.start", "resumed by who manages", beside["resumed"], True)
    said = await ann.call("presence.update", channel=f"diary:{rec}", state={})
    found += _unlike("presence.update", "handed over", said.get("code"), "channel.unknown")
    found += [f"editor channel.join: hears {push}" for push in ann.pushes if push["op"] == "presence"]
    there = (await chief.ok("presence.roster", channel=f"diary:{rec}"))["members"]
    found += _unlike("presence.roster", "who lost the record", there, [])
    lock = await chief.call("lock.take", type="diary", rec=rec)
    found += _unlike("lock.take", "handed over", lock["op"], "ok")
    back = await chief.call("record.update", type="diary", rec=rec, data={"keeper": ann_id, "name": "back"})
    events = await ann.changes(watches[0])
    found += _unlike("watch.start", "given back", [(e["kind"], e.get("record", {}).get("name")) for e in events],
                     [("enter", "back")])  # fmt: skip


async def _past(found: list[str], ann: Client, chief: Client, rec: str, worlds: Worlds) -> None:
    """What happened while a record was another's is in no history, and cannot be brought back."""
    ann_id, ben_id = worlds.own.records["event"], worlds.theirs.records["event"]
    before = (await chief.ok("record.get", type="diary", rec=rec))["version"]
    for keeper, name in ((ben_id, CANARY), (ben_id, f"{CANARY} 2"), (ann_id, "mine again")):
        await chief.ok("record.update", type="diary", rec=rec, data={"keeper": keeper, "name": name})
    past = await ann.ok("record.history", type="diary", rec=rec)
    kinds = [(e["kind"], e["version"] - before) for e in past["entries"] if e["version"] > before]
    found += _unlike("record.history", "kept by another", kinds, [("update", 3), ("leave", 1)])
    if past["entries"][0]["before"] is not None:
        found.append("editor record.history: says what it was before")
    answer = await ann.call("record.revert", type="diary", rec=rec, version=before + 2)
    found += _unlike("record.revert", "a hidden version", answer.get("code"), "data.invalid")


async def _fed(found: list[str], chief: Client, worlds: Worlds, codec: str) -> None:
    """A service of a role of its own, which may follow the feed and does not manage the type."""
    name = f"feeder-{secrets.token_hex(4)}"
    await chief.create("role", name=name, permissions=["account.feed", "diary.read"])
    made = await chief.ok("action.call", action="api_key.issue", args={"role": name, "name": "feeder"})
    async with connected(worlds.place.socket_url, codec) as service:
        await service.greet(made["key"])
        hers = (await chief.ok("record.find", type="api_key", where={"name": "feeder"}))["records"][-1]["id"]
        begun = await service.ok("feed.start", name=name)
        rec = (await chief.create("diary", name=f"{CANARY} 1", keeper="x"))["id"]
        other = (await chief.create("diary", name=f"{CANARY} 2", keeper="x"))["id"]
        await chief.ok("record.update", type="diary", rec=rec, data={"name": "open", "shared": True})
        await chief.ok("record.update", type="diary", rec=rec, data={"name": CANARY, "shared": False})
        await chief.ok("record.delete", type="diary", rec=other)
        _, last = await chief.seq("record.create", type="diary", data={"name": "last", "keeper": hers})
        events: list[Fields] = []
        while not events or events[-1]["seq"] < last:
            push = await service.push("feed")
            events += [{**event, "seq": push["seq"]} for event in push["events"]]
        told = [(e["kind"], e["rec"] == rec, e["before"], e["after"].get("name")) for e in events]
        expected: list[Any] = [
            ("update", True, None, "open"),
            ("leave", True, {}, None),
            ("create", False, None, "last"),
        ]
        found += _unlike("feed.start", "what is another's", told, expected)
        found += _unlike("feed.start", "begun", begun["resumed"], False)
        for frame in service.frames:
            if CANARY.encode() in (frame.encode() if isinstance(frame, str) else frame):
                found.append("editor feed.start: shows what is hidden")


async def over_files(worlds: Worlds, who: str) -> list[str]:
    """Ask for the bytes of what is hidden, and upload beside it; return what is wrong."""
    found: list[str] = []
    head = authority(worlds.keys[who])
    for name, path in (("hash", "/files/sha256/{0.sha256}"), ("record", "/files/diary_file/{1[diary_file]}")):
        said = []
        for things in (worlds.theirs, worlds.absent):
            answer = await worlds.http.get(path.format(things, things.records), headers=head)
            said.append((answer.status_code, answer.json()))
        if said[0] != said[1] or said[0][0] != 404:
            found.append(f"{who} GET: by {name}: {said}")
    said = []
    for things in (worlds.theirs, worlds.absent):
        where = {"type": "diary", "rec": things.records["diary"], "name": "x"}
        answer = await worlds.http.put("/files", params=where, content=b"x", headers=head)
        said.append((answer.status_code, answer.json()))
    return found if said[0] == said[1] and said[0][0] == 404 else [*found, f"{who} PUT: {said}"]
