"""record.get and record.find: counts, views and `include`; who may see what of them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from hub.wire.codec import JSON
from tests.wire.talk import Client
from tests.wire.tenant import Tenant


@pytest.fixture
async def talk(editor: Client) -> dict[str, str]:
    """A talk in a room, with two presenters, among others; ids by name."""
    ids = {"event": (await editor.create("event", title="Camp", acronym="camp"))["id"]}

    async def make(called: str, kind: str, /, **data: Any) -> None:
        ids[called] = (await editor.create(kind, ids["event"], **data))["id"]

    await make("room", "event_location", name="Aula", sort=3)
    await make("track", "event_track", name="Art")
    await make("talk", "event_session", title="Talk", location_id=ids["room"], track_id=ids["track"])
    await make("lone", "event_session", title="Lone")
    for n, name in enumerate(("Zoe", "Ada")):
        await make(name, "event_person", name=name)
        await make(f"by {name}", "event_presenter", session_id=ids["talk"], person_id=ids[name], sort=n)
    return ids


async def test_a_count_may_be_capped(editor: Client, talk: dict[str, str]) -> None:
    async def counted(count: Any) -> tuple[Any, Any]:
        found = await editor.ok("record.find", type="event_person", count=count, limit=1)
        return found.get("total"), found.get("capped")

    assert await counted(True) == (2, None)
    assert await counted("exact") == (2, None)
    assert await counted({"cap": 1}) == (1, True)
    assert await counted({"cap": 2}) == (2, None)
    assert await counted(False) == (None, None)


async def test_a_view_shows_joined_fields(editor: Client, talk: dict[str, str]) -> None:
    joined = {
        "event_title": "Camp", "location_name": "Aula", "track_name": "Art",
        "presenter_ids": [talk["Zoe"], talk["Ada"]], "presenter_names": ["Zoe", "Ada"],
    }  # fmt: skip
    plain = await editor.ok("record.get", type="event_session", rec=talk["talk"])
    seen = await editor.ok("record.get", type="event_session", rec=talk["talk"], view="programme")
    assert seen == {**plain, **joined}
    found = await editor.ok("record.find", type="event_session", view="programme", order=["-location_name"])
    assert [r["title"] for r in found["records"]] == ["Talk", "Lone"]
    assert found["records"][0] == seen
    assert (found["records"][1]["location_name"], found["records"][1]["presenter_names"]) == (None, [])


async def test_a_view_is_searched_sorted_and_paged_by_its_fields(editor: Client, talk: dict[str, str]) -> None:
    async def titles(**fields: Any) -> list[str]:
        found = await editor.ok("record.find", type="event_session", view="programme", **fields)
        return [r["title"] for r in found["records"]]

    assert await titles(where={"presenter_names": {"$has": "Ada"}}) == ["Talk"]
    assert await titles(where={"location_name": {"$istarts": "AU"}, "track_name": {"$ne": "x"}}) == ["Talk"]
    assert await titles(where={"location_name": None}) == ["Lone"]
    page = await editor.ok("record.find", type="event_session", view="programme", order=["location_name"], limit=1)
    assert [r["title"] for r in page["records"]] == ["Lone"]
    assert await titles(order=["location_name"], limit=1, after=page["next"]) == ["Talk"]
    refused = await editor.refused("record.find", type="event_session", order=["title"], after=page["next"])
    assert refused == ("cursor.invalid", "after")
    shown = await editor.ok(
        "record.get", type="event_session", rec=talk["talk"], view="programme", fields=["title", "presenter_names"]
    )
    assert shown == {
        "id": talk["talk"], "type": "event_session", "version": 1, "title": "Talk", "presenter_names": ["Zoe", "Ada"],
    }  # fmt: skip


async def test_what_belongs_together_is_included(editor: Client, talk: dict[str, str]) -> None:
    include = {"parent": True, "location": {"fields": ["name"]}, "track": True}
    seen = await editor.ok("record.get", type="event_session", rec=talk["lone"], include=include, fields=["title"])
    event = await editor.ok("record.get", type="event", rec=talk["event"])
    assert seen == {
        "id": talk["lone"], "type": "event_session", "version": 1, "title": "Lone",
        "include": {"parent": event, "location": None, "track": None},
    }  # fmt: skip
    found = await editor.ok("record.find", type="event_session", where={"title": "Talk"}, include=include)
    room = found["records"][0]["include"]["location"]
    assert room == {"id": talk["room"], "type": "event_location", "version": 1, "name": "Aula"}
    children = {
        "event_person": {"order": ["-name"], "limit": 1, "fields": ["name"]},
        "event_track": {"limit": 100},
        "event_file": True,
    }
    seen = await editor.ok("record.get", type="event", rec=talk["event"], include={"children": children})
    below = seen["include"]["children"]
    assert [r["name"] for r in below["event_person"]["records"]] == ["Zoe"]
    assert (below["event_person"]["more"], "more" in below["event_track"]) == (True, False)
    assert below["event_track"]["records"] == [await editor.ok("record.get", type="event_track", rec=talk["track"])]
    assert below["event_file"] == {"records": []}


async def test_an_answer_with_large_children_stays_below_the_size_of_a_frame(
    editor: Client, talk: dict[str, str]
) -> None:
    parent, body = {"type": "event", "rec": talk["event"]}, "x" * 19_000
    for part in range(4):
        data = [{"title": f"{part}-{n}", "abstract": body} for n in range(25)]
        ops = [{"op": "record.create", "type": "event_session", "parent": parent, "data": one} for one in data]
        await editor.ok("record.batch", ops=ops)
    children = {"event_session": {"limit": 100, "order": ["title"]}}
    editor.frames.clear()
    for op, fields in (("record.get", {"rec": talk["event"]}), ("record.find", {})):
        answer = await editor.ok(op, type="event", include={"children": children}, **fields)
        seen = answer if op == "record.get" else answer["records"][0]
        some = seen["include"]["children"]["event_session"]
        assert (some["more"], len(some["records"])) == (True, 6 if op == "record.get" else 40)
        assert [r["title"] for r in some["records"]] == sorted(r["title"] for r in some["records"])
    found = await editor.ok("record.find", type="event_session", include={"parent": True}, limit=1000)
    assert (len(found["records"]) < 102, "next" in found) == (True, True)
    assert max(len(f.encode() if isinstance(f, str) else f) for f in editor.frames) <= 1024 * 1024


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"view": "nope"}, "data.invalid", "view"),
        ({"view": 5}, "data.invalid", "view"),
        ({"fields": ["location_name"]}, "data.invalid", "fields.0"),
        ({"view": "programme", "fields": ["title", "nope"]}, "data.invalid", "fields.1"),
        ({"where": {"location_name": "x"}}, "where.invalid", "where.location_name"),
        ({"order": ["location_name"]}, "order.invalid", "order.0"),
        ({"view": "programme", "order": ["presenter_names"]}, "order.invalid", "order.0"),
        ({"view": "programme", "where": {"presenter_names": "x"}}, "where.invalid", "where.presenter_names"),
        ({"view": "programme", "where": {"presenter_names": {"$contains": "x"}}}, "where.invalid",
         "where.presenter_names.$contains"),
        ({"view": "programme", "where": {"location_name": {"$gt": 5}}}, "where.invalid", "where.location_name.$gt"),
        ({"view": "programme", "where": {"parent": {"location_name": "x"}}}, "where.invalid",
         "where.parent.location_name"),
        ({"include": ["parent"]}, "data.invalid", "include"),
        ({"include": {"nope": True}}, "data.invalid", "include.nope"),
        ({"include": {"location_id": True}}, "data.invalid", "include.location_id"),
        ({"include": {"parent": False}}, "data.invalid", "include.parent"),
        ({"include": {"parent": {"fields": ["nope"]}}}, "data.invalid", "include.parent.fields.0"),
        ({"include": {"parent": {"limit": 1}}}, "data.invalid", "include.parent.limit"),
        ({"include": {"children": True}}, "data.invalid", "include.children"),
        ({"include": {"children": {"event_track": True}}}, "data.invalid", "include.children.event_track"),
        ({"type": "event", "include": {"parent": True}}, "data.invalid", "include.parent"),
        ({"type": "event", "include": {"children": {"event_track": {"limit": 101}}}}, "data.invalid",
         "include.children.event_track.limit"),
        ({"type": "event", "include": {"children": {"event_track": {"order": ["nope"]}}}}, "order.invalid",
         "include.children.event_track.order.0"),
        ({"type": "event", "limit": 1000, "include": {"children": {"event_track": {"limit": 11}}}}, "data.invalid",
         "include.children"),
        ({"type": "event", "limit": 1000, "include": {"children": {"event_track": {"limit": 10}}}}, None, None),
        ({"count": {"cap": 0}}, "data.invalid", "count.cap"),
        ({"count": {"cap": 100_001}}, "data.invalid", "count.cap"),
        ({"count": {"cap": 100_000}}, None, None),
        ({"count": {}}, "data.invalid", "count.cap"),
        ({"count": "about"}, "data.invalid", "count"),
        ({"count": 5}, "data.invalid", "count"),
    ],
)  # fmt: skip
async def test_what_cannot_be_shown_along_is_refused_with_its_path(
    shared: Tenant, codec: str, fields: dict[str, Any], code: str | None, path: str | None
) -> None:
    async with shared.client("editor", codec) as client:
        message = await client.call("record.find", **{"type": "event_session", **fields})
        assert (message.get("code"), message.get("path")) == (code, path)
        assert JSON.encode(message)


async def test_nothing_is_included_that_may_not_be_read(shared: Tenant, codec: str) -> None:
    fields = {"type": "event", "include": {"children": {"event_import": True}}}
    async with shared.client("editor", codec) as client:
        await client.ok("record.find", **fields)
    async with shared.client("viewer", codec) as client:
        assert await client.refused("record.find", **fields) == ("access.denied", "include.children.event_import")
        await client.ok("record.find", type="event_session", view="programme")
    async with shared.client("owner", codec) as client:
        refused = await client.refused("record.find", type="membership", include={"user": True})
        assert refused == ("access.denied", "include.user")


async def test_views_and_children_are_described(editor: Client) -> None:
    types = (await editor.ok("schema.describe"))["types"]
    assert "event_session" in types["event"]["children"]
    view = types["event_session"]["views"]["programme"]
    assert view["presenter_names"] == {
        "kind": "list", "of": "event_person", "operators": ["$has", "$hasAll", "$hasAny", "$null"], "sortable": False,
    }  # fmt: skip
    assert view["location_name"]["sortable"] is True
    assert "$istarts" in view["location_name"]["operators"]
