"""What is refused for what it says: times that do not go together, another event's room, names that nobody can see."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from msgspec import Meta

from hub.schema.access import Access, DeclarationError
from hub.schema.fields import Field, Ref
from hub.schema.record import Record
from packs.events.records import Event
from tests.wire.talk import Client
from tests.wire.tenant import Tenant, operator

TEN, NOON = "2031-01-01T10:00:00Z", "2031-01-01T12:00:00Z"


async def test_a_session_does_not_end_before_it_starts(editor: Client) -> None:
    event = (await editor.create("event", title="e"))["id"]
    parent = {"type": "event", "rec": event}
    refused = ("data.invalid", "data.ends_at")
    wrong = {"title": "t", "starts_at": NOON, "ends_at": TEN}
    assert await editor.refused("record.create", type="event_session", parent=parent, data=wrong) == refused
    match = {"match": ["guid"], "parent": parent}
    upsert = {"type": "event_session", "data": {**wrong, "guid": "g"}, **match}
    assert await editor.refused("record.upsert", **upsert) == refused
    good = await editor.create("event_session", event, title="t", starts_at=TEN, ends_at=NOON, guid="g")
    for data in ({"starts_at": "2031-01-01T12:00:00.001Z"}, {"ends_at": "2031-01-01T09:00:00Z"}):
        assert await editor.refused("record.update", type="event_session", rec=good["id"], data=data) == refused
        upsert = {"type": "event_session", "data": {"title": "t", "guid": "g", **data}, **match}
        assert await editor.refused("record.upsert", **upsert) == refused
    item = {"op": "record.update", "type": "event_session", "rec": good["id"], "data": {"starts_at": TEN}}
    later = {**item, "data": {"ends_at": "2031-01-01T09:00:00Z"}}
    assert await editor.refused("record.batch", ops=[item, later]) == ("data.invalid", "ops.1.data.ends_at")
    assert (await editor.ok("record.get", type="event_session", rec=good["id"]))["version"] == 1
    for name, value in (("ends_at", TEN), ("ends_at", None), ("starts_at", NOON), ("title", "x")):
        await editor.ok("record.update", type="event_session", rec=good["id"], data={name: value})


@pytest.mark.parametrize("wire", ["location_id", "track_id"])
async def test_a_session_is_in_a_room_and_track_of_its_own_event(editor: Client, wire: str) -> None:
    mine = (await editor.create("event", title="mine"))["id"]
    other = (await editor.create("event", title="other"))["id"]
    kind = f"event_{wire.removesuffix('_id')}"
    here, there = [(await editor.create(kind, event, name="x"))["id"] for event in (mine, other)]
    fields: dict[str, Any] = {"type": "event_session", "parent": {"type": "event", "rec": mine}}
    refused = ("data.invalid", f"data.{wire}")
    assert await editor.refused("record.create", **fields, data={"title": "t", wire: there}) == refused
    session = await editor.create("event_session", mine, title="t", **{wire: here})
    change = {"type": "event_session", "rec": session["id"], "data": {wire: there}}
    assert await editor.refused("record.update", **change) == refused
    ops = [
        {"op": "record.create", "type": kind, "parent": {"type": "event", "rec": other}, "data": {"name": "new"}},
        {"op": "record.create", **fields, "data": {"title": "t", wire: {"$item": 0}}},
    ]
    assert await editor.refused("record.batch", ops=ops) == ("data.invalid", f"ops.1.data.{wire}")


async def test_a_presenter_joins_a_person_and_a_session_of_one_event(editor: Client) -> None:
    mine = (await editor.create("event", title="mine"))["id"]
    other = (await editor.create("event", title="other"))["id"]
    session = (await editor.create("event_session", mine, title="t"))["id"]
    stranger = (await editor.create("event_person", other, name="p"))["id"]
    data = {"session_id": session, "person_id": stranger}
    parent = {"type": "event", "rec": mine}
    refused = await editor.refused("record.create", type="event_presenter", parent=parent, data=data)
    assert refused == ("data.invalid", "data.person_id")


def test_same_parent_is_for_references_to_records_that_have_it() -> None:
    rule = Access(read="viewer", create="editor", update="editor", delete="editor")
    with pytest.raises(DeclarationError, match="same parent"):

        class Loose(Record, access=rule):
            """It has no parent."""

            event: Annotated[Ref[Event], Field(same_parent=True)]

    with pytest.raises(DeclarationError, match="same parent"):

        class Plain(Record, access=rule, parent=Event):
            """It is no reference."""

            name: Annotated[str, Meta(max_length=9), Field(same_parent=True)]


UNSEEN = [
    "   ",
    "\t\n",
    "\u200b",
    "\u00ad\u2060\ufeff",
    "\u3000",
    "\u3164",
    "\u2800",
    "\u0301",
    "a\u202eb",
    "\u2067a",
    "a\u2028b",
]
SEEN = ["a", " a ", "-", "🫩", "👩\u200d💻", "م\u200fa", "é", "e\u0301", "漢", "\ue000"]


@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
async def test_a_name_that_shows_nothing_or_turns_around_is_refused(editor: Client, text: str) -> None:
    event = await editor.create("event", title="e")
    assert await editor.refused("record.create", type="event", data={"title": text}) == ("data.invalid", "data.title")
    change = {"type": "event", "rec": event["id"], "data": {"acronym": text}}
    assert await editor.refused("record.update", **change) == ("data.invalid", "data.acronym")
    parent = {"type": "event", "rec": event["id"]}
    upsert = {"type": "event_track", "parent": parent, "data": {"name": text}, "match": ["name"]}
    assert await editor.refused("record.upsert", **upsert) == ("data.invalid", "data.name")


@pytest.mark.parametrize("text", SEEN, ids=ascii)
async def test_a_name_that_shows_something_is_taken_as_it_is(editor: Client, text: str) -> None:
    assert (await editor.create("event", title=text))["title"] == text
    event = await editor.create("event", title="e", acronym=None)
    session = await editor.create("event_session", event["id"], title="t", subtitle=" ", abstract="\u202btext\u202c")
    assert session["subtitle"] == " ", "what may be empty may be blank"


async def test_nobody_and_no_key_is_called_nothing(tenant: Tenant) -> None:
    async with operator(tenant.process, tenant.name) as desk:
        for action, args, path in (
            ("user.create", {"name": "\u200b", "role": "viewer"}, "args.name"),
            ("account.create", {"name": "nobody-owns-this", "owner": " "}, "args.owner"),
            ("api_key.issue", {"name": " ", "role": "viewer"}, "args.name"),
        ):
            assert await desk.refused("action.call", action=action, args=args) == ("data.invalid", path)
