"""event_session.reschedule among others: who hears of a move, who may not make it, and what a refusal suggests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.wire.talk import Client
from tests.wire.tenant import Tenant, make_tenant
from tests.wire.test_actions import at, move

MISSING = "AAAAAAAAAAA"
IMPORT = {
    "action": "event.import_programme",
    "args": {
        "programme": {
            "event": {"acronym": "p", "title": "P"}, "locations": [], "tracks": [], "persons": [], "sessions": []
        }
    },
}  # fmt: skip


async def make_talk(client: Client, event: str, room: str | None, title: str, hours: tuple[int, int] | None) -> str:
    """Create a session; return its id."""
    times = {"starts_at": at(hours[0]), "ends_at": at(hours[1])} if hours else {}
    talk = await client.create("event_session", event, title=title, guid=title, location_id=room, **times)
    return str(talk["id"])


async def make_programme(client: Client) -> dict[str, str]:
    """Create an event with a hall and an attic: one from 9 to 10, two from 10 to 12, three from 13 to 14."""
    event = str((await client.create("event", title="A", acronym="a"))["id"])
    ids = {"event": event}
    for name in ("hall", "attic"):
        ids[name] = str((await client.create("event_location", event, name=name))["id"])
    for title, hours in {"one": (9, 10), "two": (10, 12), "three": (13, 14)}.items():
        ids[title] = await make_talk(client, event, ids["hall"], title, hours)
    return ids


async def test_every_watcher_hears_of_exactly_the_session_that_moved(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor, tenant.client("viewer", codec) as viewer:
        ids = await make_programme(editor)
        whole = (await viewer.ok("watch.start", type="event_session"))["watch"]
        morning = {"starts_at": {"$lt": at(12)}}
        filtered = (await viewer.ok("watch.start", type="event_session", where=morning))["watch"]
        titles = (await viewer.ok("watch.start", type="event_session", fields=["title"]))["watch"]
        rooms = (await viewer.ok("watch.start", type="event_location"))["watch"]
        others = [
            await viewer.ok("watch.start", type="event_track"),
            await viewer.ok("watch.start", type="event_session", where={"id": ids["two"]}),
        ]
        moved = await editor.call("action.call", **move(ids["one"], at(15), location=ids["attic"]))
        pushes = {m["watch"]: m for m in await viewer.settled()}
        assert set(pushes) == {whole, filtered, titles, rooms}
        assert {m["seq"] for m in pushes.values()} == {moved["seq"]}
        assert {m["origin"] for m in pushes.values()} == {editor.hello["session"]}
        (event,) = pushes[whole]["events"]
        assert (event["kind"], event["rec"], event["version"]) == ("update", ids["one"], 2)
        told = {k: v for k, v in event["patch"].items() if not k.startswith("updated_")}
        assert told == {"starts_at": at(15), "ends_at": at(16), "location_id": ids["attic"]}
        (gone,) = pushes[filtered]["events"]
        assert (gone["kind"], gone["rec"], gone["why"]) == ("leave", ids["one"], "filter")
        (version,) = pushes[titles]["events"]
        assert (version["kind"], version["patch"], version["version"]) == ("update", {}, 2)
        assert [e["rec"] for e in pushes[rooms]["events"]] == [ids["attic"]], "the room that it takes, and no other"
        assert not {other["watch"] for other in others} & set(pushes)


async def test_a_refused_move_is_heard_by_nobody(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor, tenant.client("viewer", codec) as viewer:
        ids = await make_programme(editor)
        before = (await editor.ok("session.beat"))["seq"]
        for kind in ("event_session", "event_location"):
            await viewer.ok("watch.start", type=kind)
        assert await editor.refused("action.call", **move(ids["one"], at(10))) == ("action.failed", "args.starts_at")
        assert (await editor.ok("session.beat"))["seq"] == before
        assert await viewer.settled() == []


@pytest.mark.parametrize(
    ("title", "start", "conflict", "free"),
    [
        ("one", at(11), "two", (at(12), at(13))),  # right behind what is in the way
        ("two", at(9, 30), "one", (at(10), at(12))),  # its own hours are free to it
        ("two", at(12), "three", (at(14), at(16))),  # the free hour before is too short
        ("three", at(8, 30), "one", (at(12), at(13))),  # past two in a row
    ],
)
async def test_the_suggestion_is_the_next_slot_that_can_be_taken(
    editor: Client, title: str, start: str, conflict: str, free: tuple[str, str]
) -> None:
    ids = await make_programme(editor)
    refused = await editor.call("action.call", **move(ids[title], start))
    assert (refused["code"], refused["path"]) == ("action.failed", "args.starts_at")
    assert refused["details"]["conflict"]["title"] == conflict
    assert refused["details"]["suggestion"] == dict(zip(("starts_at", "ends_at"), free, strict=True))
    taken = await editor.ok("action.call", **move(ids[title], refused["details"]["suggestion"]["starts_at"]))
    assert (taken["starts_at"], taken["ends_at"]) == free


async def test_what_was_deleted_is_in_nobodys_way(editor: Client) -> None:
    ids = await make_programme(editor)
    await editor.ok("record.delete", type="event_session", rec=ids["two"])
    moved = await editor.ok("action.call", **move(ids["one"], at(11)))
    assert (moved["starts_at"], moved["ends_at"]) == (at(11), at(12))


async def test_a_viewer_moves_nothing(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor, tenant.client("viewer", codec) as viewer:
        ids = await make_programme(editor)
        answer = await viewer.call("action.call", **move(ids["one"], at(15)))
        assert (answer["code"], answer["details"]["needs"]) == ("access.denied", "event_session.update")
        assert (await viewer.ok("record.get", type="event_session", rec=ids["one"]))["version"] == 1


async def test_what_another_account_has_answers_like_what_is_not_there(tenant: Tenant, codec: str) -> None:
    other = await make_tenant(tenant.process)
    async with tenant.client("owner", codec) as mine, other.client("owner", codec) as theirs:
        own, foreign = await make_programme(mine), await make_programme(theirs)
        for name, vectors in {
            "target.rec": [move(rec, at(15)) for rec in (foreign["one"], MISSING)],
            "args.location": [move(own["one"], at(15), location=rec) for rec in (foreign["hall"], MISSING)],
        }.items():
            answers: list[dict[str, Any]] = [await mine.call("action.call", **fields) for fields in vectors]
            assert {(a["code"], a["path"]) for a in answers} == {("record.not_found", name)}
            assert len({a["message"] for a in answers}) == 1
        assert (await theirs.ok("record.get", type="event_session", rec=foreign["one"]))["version"] == 1
        assert (await mine.ok("record.get", type="event_session", rec=own["one"]))["version"] == 1


async def test_a_room_of_another_event_is_not_one_of_the_session(editor: Client) -> None:
    ids = await make_programme(editor)
    event = (await editor.create("event", title="B", acronym="b"))["id"]
    room = (await editor.create("event_location", event, name="hall"))["id"]
    fields = move(ids["one"], at(15), location=room)
    assert await editor.refused("action.call", **fields) == ("record.not_found", "args.location")


async def test_a_key_holds_for_its_user_over_another_socket_and_codec(tenant: Tenant) -> None:
    async with tenant.client("editor", "json") as one, tenant.client("editor", "msgpack") as two:
        ids = await make_programme(one)
        watch = (await two.ok("watch.start", type="event_session"))["watch"]
        fields = {**move(ids["one"], at(15)), "key": "move"}
        first = await one.call("action.call", **fields)
        await one.ok("action.call", **move(ids["one"], at(17)))
        again = await two.call("action.call", **fields)
        assert (again["op"], again["data"], again["seq"]) == ("ok", first["data"], first["seq"])
        reused = await two.call("action.call", **{**fields, **move(ids["one"], at(19))})
        assert (reused["code"], reused["path"]) == ("key.reused", "key")
        assert [e["version"] for e in await two.changes(watch)] == [2, 3], "neither moved it"


async def test_a_repeated_move_is_answered_as_then_whatever_took_its_slot_since(editor: Client) -> None:
    ids = await make_programme(editor)
    fields = {**move(ids["one"], at(15)), "key": "move"}
    first = await editor.call("action.call", **fields)
    await editor.ok("action.call", **move(ids["one"], at(17)))
    await editor.ok("action.call", **move(ids["two"], at(15)))
    again = await editor.call("action.call", **fields)
    assert (again["op"], again.get("data"), again.get("seq")) == ("ok", first["data"], first["seq"])
    await editor.ok("record.delete", type="event_session", rec=ids["one"])
    again = await editor.call("action.call", **fields)
    assert (again["op"], again.get("data"), again.get("seq")) == ("ok", first["data"], first["seq"])


async def test_another_call_with_a_used_key_is_refused_for_its_key_first(editor: Client) -> None:
    ids = await make_programme(editor)
    await editor.ok("action.call", **move(ids["one"], at(15)), key="move")
    for other in (move(ids["one"], at(10)), move(MISSING, at(15)), IMPORT):
        assert await editor.refused("action.call", **other, key="move") == ("key.reused", "key")


async def test_a_repeated_import_is_answered_as_then(editor: Client) -> None:
    first, again = [await editor.call("action.call", **IMPORT, key="import") for _ in range(2)]
    assert first["data"]["counts"]["event"]["created"] == 1
    assert (again["data"], again.get("seq")) == (first["data"], first["seq"])


async def test_many_moves_into_one_room_at_once_are_all_done_unless_they_overlap(editor: Client) -> None:
    ids = await make_programme(editor)
    talks = [await make_talk(editor, ids["event"], None, f"t{n}", (n, n + 1)) for n in range(13)]
    moves = [move(rec, at(n), location=ids["attic"]) for n, rec in enumerate(talks)]
    moves[12]["args"]["starts_at"] = at(5, 30)
    numbers = [await editor.send("action.call", **fields) for fields in moves]
    codes = [(await editor.answer(number)).get("code", "ok") for number in numbers]
    overlapping = [codes.pop(12), codes.pop(6), codes.pop(5)]
    assert codes == ["ok"] * 10
    assert overlapping in (["action.failed", "ok", "ok"], ["ok", "action.failed", "action.failed"])


async def test_a_key_of_somebody_else_is_another_key(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as one, tenant.client("owner", codec) as other:
        ids = await make_programme(one)
        await one.ok("action.call", **move(ids["one"], at(15)), key="move")
        moved = await other.ok("action.call", **move(ids["one"], at(17)), key="move")
        assert (moved["version"], moved["starts_at"]) == (3, at(17))
