"""Hidden fields over the wire: whatever somebody asks, writes or listens to, they learn nothing of what is hidden."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.wire.inside import Inside, assembled, assembled_in_memory
from tests.wire.talk import Client, Message, connected
from tests.wire.unhidden import WITHIN, asking, take_out
from tests.wire.worlds import CANARY, authority, issue

PACK: Final = "packs.events,tests.wire.cellars"
TYPES: Final = ("cellar", "bottle", "cellar_file")
SCOPES: Final = [f"{name}.{verb}" for name in TYPES for verb in ("read", "create", "update")]
BLIND: Final[Message] = {"note": CANARY, "worth": 770_131_977, "code": f"{CANARY} code"}
"""What editors do not see."""


@dataclass
class House:
    """A hub with an account, who is in it, and what is the same for every check."""

    inside: Inside
    http: httpx.AsyncClient
    keys: dict[str, str]
    ids: dict[str, str]
    sha256: str


@asynccontextmanager
async def housed(inside: Inside) -> AsyncIterator[House]:
    """Make an account with everybody who asks, a site with an entry of its own, and a file."""
    _, owner = await inside.make_account(f"house-{secrets.token_hex(4)}")
    keys, ids = {"owner": owner}, {}
    async with httpx.AsyncClient(base_url=inside.url, trust_env=False, timeout=20) as http:
        async with connected(inside.socket_url) as chief:
            await chief.greet(owner)
            await chief.create("role", name="feeder", permissions=["account.feed", "cellar.read"])
            service = (await chief.create("service_account", name="s", role="editor"))["id"]
            ids["site"] = (await chief.create("site", name=f"{CANARY} site"))["id"]
            row = {"lookup": "country", "code": "XK", "name": CANARY, "for_type": "site", "for_id": ids["site"]}
            await chief.create("lookup_row", **row)
            ids["cellar"] = (await chief.create("cellar", name="with a file"))["id"]
        for who, role, more in (
            ("editor", "editor", {}), ("feeder", "feeder", {}), ("service", "owner", {"service": service}),
            ("scoped", "editor", {"scopes": SCOPES}), ("seeing", "owner", {"scopes": SCOPES}),
            ("demoted", "manager", {}),
        ):  # fmt: skip
            ids[who], keys[who] = await issue(http, owner, role, name=who, **more)
        body = secrets.token_bytes(30)
        where = {"type": "cellar", "rec": ids["cellar"], "name": "a file"}
        put = await http.put("/files", params=where, content=body, headers=authority(owner))
        assert put.status_code == 201, put.text
        ids["file"] = put.json()["id"]
        yield House(inside, http, keys, ids, hashlib.sha256(body).hexdigest())


class Check:
    """One look at everything that somebody may ask and be told, with records of its own; `found` is what leaked."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.found: list[str] = []
        self.name = f"cellar {secrets.token_hex(4)}"
        self.marks = [text.encode() for text in (CANARY, str(BLIND["worth"]), house.ids["site"], house.sha256)]
        self.clients: dict[str, Client] = {}
        self.data: Message = {**BLIND, "code": f"{CANARY} {self.name}", "place_id": house.ids["site"]}

    async def run(self, stack: AsyncExitStack) -> list[str]:
        """Go through everything until something leaked; return what that is."""
        for who in self.house.keys:
            client = await stack.enter_async_context(connected(self.house.inside.socket_url))
            await client.greet(self.house.keys[who])
            self.clients[who] = client
        self.chief, self.ed = self.clients["owner"], self.clients["editor"]
        self.rec = (await self.chief.create("cellar", name=self.name, **self.data))["id"]
        self.on: Message = {"type": "cellar", "rec": self.rec}
        under = {"parent": self.on, "type": "bottle"}
        made = await self.chief.ok("record.create", **under, data={"name": "full", "note": CANARY})
        self.bottle: Message = {"type": "bottle", "rec": made["id"]}
        for scene in (
            self.refused, self.shown, self.files, self.written, self.reverted, self.watched, self.past, self.others,
            self.demoted, self.fed,
        ):  # fmt: skip
            await scene()
            for who, client in self.clients.items():
                frames = [frame.encode() if isinstance(frame, str) else frame for frame in client.frames]
                if who not in {"owner", "seeing"} and any(mark in frame for mark in self.marks for frame in frames):
                    self.found.append(f"{scene.__name__}: {who} is shown what is hidden")
            if self.found:
                break
        return self.found

    def unlike(self, what: str, answer: Any, expected: Any) -> None:
        """Note an answer that is not the one of a field that is not there."""
        if answer != expected:
            self.found.append(f"{what}: {answer} is not {expected}")

    async def refused(self) -> None:
        """Questions that name what is hidden: it is not there."""
        by_note, cellar, bottle = {"note": {"$starts": CANARY}}, {"type": "cellar"}, {"type": "bottle"}
        asked: list[tuple[str, Message, str]] = [
            ("record.get", {**self.on, "fields": ["note"]}, "data.invalid"),
            ("record.get", {**self.on, "include": {"place": True}}, "data.invalid"),
            ("record.get", {**self.on, "include": {"children": {"bottle": {"fields": ["note"]}}}}, "data.invalid"),
            ("record.get", {**self.on, "include": {"children": {"bottle": {"order": ["note"]}}}}, "order.invalid"),
            ("record.get", {**self.bottle, "view": "label", "fields": ["told"]}, "data.invalid"),
            ("record.find", {**bottle, "view": "label", "where": {"told": CANARY}}, "where.invalid"),
            ("record.find", {**bottle, "view": "label", "order": ["told"]}, "order.invalid"),
            ("record.find", {**bottle, "where": {"parent": by_note}}, "where.invalid"),
            ("record.find", {**cellar, "where": {"children": {"type": "bottle", "$some": by_note}}}, "where.invalid"),
            ("record.find", {**cellar, "where": {"place": {}}}, "where.invalid"),
            ("record.find", {**cellar, "where": {"$not": by_note}}, "where.invalid"),
            ("record.find", {**cellar, "order": ["-worth"]}, "order.invalid"),
            ("record.find", {**cellar, "fields": ["worth"]}, "data.invalid"),
            ("record.aggregate", {**cellar, "values": {"n": "count"}, "where": by_note}, "where.invalid"),
            ("record.aggregate", {**cellar, "values": {"n": "count"}, "group": "worth"}, "data.invalid"),
            ("record.aggregate", {**cellar, "values": {"n": {"max": "worth"}}}, "data.invalid"),
            ("record.search", {"q": "cellar", "types": ["cellar"], "where": by_note}, "where.invalid"),
            ("record.update_where", {**cellar, "where": by_note, "data": {}, "limit": 9}, "where.invalid"),
            ("record.delete_where", {**cellar, "where": by_note, "limit": 9}, "where.invalid"),
            ("record.upsert", {**cellar, "match": ["code"], "data": {"name": "x"}}, "data.invalid"),
            ("watch.start", {**cellar, "where": by_note}, "where.invalid"),
            ("watch.start", {**cellar, "fields": ["name"], "order": ["worth"]}, "order.invalid"),
            ("watch.start", {**cellar, "fields": ["note"]}, "data.invalid"),
        ]
        await self._refused(asked)

    async def _refused(self, asked: list[tuple[str, Message, str]]) -> None:
        sent = [await self.ed.send(op, **fields) for op, fields, _ in asked]
        for number, (op, fields, code) in zip(sent, asked, strict=True):
            self.unlike(f"{op} {fields}", (await self.ed.answer(number)).get("code"), code)

    async def shown(self) -> None:
        """Answers that show whole records, or tell what there is."""
        ed = self.ed
        for op, fields in (
            ("record.get", self.on), ("record.get", {**self.bottle, "view": "label"}),
            ("record.get", {**self.bottle, "include": {"parent": True}}),
            ("record.find", {"type": "cellar", "where": {"id": self.rec}}), ("record.search", {"q": self.name}),
            ("record.find", {"type": "cellar", "where": {"id": self.rec}, "include": {"children": {"bottle": True}}}),
            ("lookup.list", {"lookup": "country", "for": self.on}),
            ("lookup.resolve", {"lookup": "country", "code": "XK", "for": self.on}),
        ):  # fmt: skip
            await ed.call(op, **fields)
        told = await ed.ok("schema.describe", types=list(TYPES))
        cellar, bottle = told["types"]["cellar"], told["types"]["bottle"]
        for name in ("note", "worth", "code", "place_id"):
            if name in str(cellar):
                self.found.append(f"schema.describe: tells of {name}")
        self.unlike("schema.describe: a view", bottle["views"], {"label": {}})

    async def files(self) -> None:
        """The bytes of a file whose hash is hidden."""
        ids = self.house.ids
        await self._refused([
            ("file.grant", {"hash": self.house.sha256, "ttl": 5}, "record.not_found"),
            ("file.grant", {"type": "cellar_file", "rec": ids["file"], "ttl": 5}, "record.not_found"),
            ("manifest.get", {"container": {"type": "cellar", "rec": ids["cellar"]}}, "access.denied"),
        ])  # fmt: skip

    async def written(self) -> None:
        """Writes that name what is hidden, and what is answered to others."""
        ed, data, cellar = self.ed, {"note": "by an editor"}, {"type": "cellar"}
        mine, named = {"where": {"id": self.rec}, "limit": 9}, {**cellar, "match": ["name"]}
        item = {"op": "record.update", **self.on, "data": data}
        await self._refused([
            ("record.create", {**cellar, "data": {"name": f"{self.name} x", **data}}, "data.invalid"),
            ("record.create", {**cellar, "data": {"name": "x", "place_id": self.house.ids["site"]}}, "data.invalid"),
            ("record.update", {**self.on, "data": data}, "data.invalid"),
            ("record.upsert", {**named, "data": {"name": self.name, **data}}, "data.invalid"),
            ("record.batch", {"ops": [item]}, "data.invalid"),
            ("record.update_where", {**cellar, **mine, "data": data}, "data.invalid"),
        ])  # fmt: skip
        item = {"op": "record.update", **self.on, "data": {}}
        for op, fields in (
            ("record.update", {**self.on, "data": {}}), ("record.batch", {"ops": [item]}),
            ("record.batch", {"ops": [item], "atomic": False}), ("record.restore", self.on),
            ("record.upsert", {**named, "data": {"name": self.name}}),
        ):  # fmt: skip
            await ed.ok(op, **fields)
        made = await ed.ok("record.create", type="cellar", data={"name": f"{self.name} of an editor"})
        self.unlike("record.create", "note" in made, False)

    async def reverted(self) -> None:
        """An earlier version: what is hidden stays as it is."""
        there = await self.chief.ok("record.update", **self.on, data={"note": f"{CANARY} later"})
        await self.ed.ok("record.revert", **self.on, version=there["version"] - 1)
        now = await self.chief.ok("record.get", **self.on)
        self.unlike("record.revert", now["note"], f"{CANARY} later")

    async def watched(self) -> None:
        """Snapshots and pushes, of a filter and of a window, begun and taken up again."""
        ed, name, asked = self.ed, f"{self.name} watched", {"type": "cellar", "where": {"name": f"{self.name} watched"}}
        begun = [await ed.ok("watch.start", **asked), await ed.ok("watch.start", **asked, order=["name"], limit=3)]
        rec = (await self.chief.create("cellar", **{**self.data, "name": name, "code": f"{CANARY} {name}"}))["id"]
        on = {"type": "cellar", "rec": rec}
        _, at = await self.chief.seq("record.update", **on, data={"note": f"{CANARY} again", "worth": 1})
        _, last = await self.chief.seq("record.update", **on, data={"worth": BLIND["worth"]})
        for each in begun:
            self.unlike("watch.start", [e["kind"] for e in await ed.changes(each["watch"])][:1], ["enter"])
            await ed.ok("watch.stop", watch=each["watch"])
        for each, more in zip(begun, ({}, {"order": ["name"], "limit": 3}), strict=True):
            again = await ed.ok("watch.start", **asked, **more)  # a snapshot
            await ed.ok("watch.stop", watch=again["watch"])
            since = {"mark": each["mark"], "seq": at - 1, "have": {rec: 1}}
            back = await ed.ok("watch.start", **asked, **more, since=since)
            self.unlike("watch.start: taken up again", (back["resumed"], back["seq"] >= last), (True, True))
            await ed.ok("watch.stop", watch=back["watch"])

    async def past(self) -> None:
        """What became of a record."""
        told = await self.ed.ok("record.history", **self.on)
        for entry in told["entries"]:
            named = {*(entry["before"] or ()), *entry["after"]}
            self.unlike("record.history", named & {"note", "worth", "code", "place_id"}, set())

    async def others(self) -> None:
        """Keys that may less than their role, that act for others, and that share a watch with who sees more."""
        for who in ("service", "scoped", "feeder"):
            await self.clients[who].ok("record.get", **self.on)
        seeing, scoped, where = self.clients["seeing"], self.clients["scoped"], {"id": self.rec}
        self.unlike("who sees", (await seeing.ok("record.get", **self.on))["worth"], BLIND["worth"])
        for client in (seeing, scoped):
            await client.ok("watch.start", type="cellar", where=where)
        await self.chief.ok("record.update", **self.on, data={"note": f"{CANARY} shared"})
        for client in (seeing, scoped):
            await client.settled()

    async def demoted(self) -> None:
        """Somebody who saw it, and listens still when they may not any more."""
        client, key = self.clients["demoted"], {"type": "api_key", "rec": self.house.ids["demoted"]}
        await client.ok("watch.start", type="cellar", where={"id": self.rec})
        await self.chief.ok("record.update", **key, data={"role": "editor"})
        await client.push("notice", lambda push: push["code"] == "rights.changed")
        client.frames.clear()
        await self.chief.ok("record.update", **self.on, data={"note": f"{CANARY} unseen"})
        await client.settled()
        await self.chief.ok("record.update", **key, data={"role": "manager"})

    async def fed(self) -> None:
        """A service that follows the feed in a role of its own."""
        feeder, chief = self.clients["feeder"], self.chief
        await feeder.ok("feed.start", name=self.name.replace(" ", "-"))
        await chief.ok("record.update", **self.on, data={"note": f"{CANARY} fed", "name": f"{self.name} fed"})
        _, last = await chief.seq("record.create", type="cellar", data={"name": f"{self.name} last", "note": CANARY})
        await feeder.push("feed", lambda push: push["seq"] == last)


async def leaks(house: House) -> list[str]:
    """Return what is wrong, with nothing kept of the rights of the check before."""
    table = house.inside.parts.hub.services.rights
    table._kept.clear()
    try:
        async with AsyncExitStack() as stack:
            return await Check(house).run(stack)
    finally:
        table._kept.clear()


@pytest.mark.parametrize("keeper", ["in memory", "on SQLite"])
async def test_nobody_learns_of_a_field_that_is_hidden_from_them(
    keeper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    if keeper == "in memory":
        inside = await asyncio.to_thread(assembled_in_memory, data, monkeypatch, packs=PACK)
    else:
        inside = await asyncio.to_thread(assembled, data, packs=PACK)
    async with inside.running(), housed(inside) as house:
        assert await leaks(house) == []


async def test_without_any_one_of_the_places_that_ask_what_is_hidden_the_same_check_finds_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = await asyncio.to_thread(assembled_in_memory, tmp_path / "data", monkeypatch, packs=PACK)
    blind: list[str] = []
    sites = asking()
    async with inside.running(), housed(inside) as house:
        for site in sites:
            with pytest.MonkeyPatch.context() as patch:
                take_out(site, patch)
                found = await leaks(house)
            if not found or "server.error" in str(found):
                blind.append(f"{site}: {found}")
        for place, (home, name, broken) in WITHIN.items():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(home, name, broken)
                found = await leaks(house)
            if not found or "server.error" in str(found):
                blind.append(f"{place}: {found}")
    print(f"field hiding: {len(sites) + len(WITHIN)} places taken out once each")
    assert not blind, "\n".join(blind)
