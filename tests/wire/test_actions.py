"""action.call with a real action, and schema.describe: what a session may do, and what it is told of that."""

from __future__ import annotations

from typing import Any

import pytest

from hub.app import registry_of
from hub.settings import Settings
from tests.wire.talk import Client, Message
from tests.wire.tenant import Tenant, operator

OPERATORS = {name for name, spec in registry_of(Settings()).actions.items() if spec.operator}
"""The actions that answer the operator only. Looked up outside the loop: it reads files."""


@pytest.fixture
async def programme(editor: Client) -> dict[str, str]:
    """An event with two rooms; a keynote from 9 to 10 and a talk from 10 to 11 in the hall, one talk without a time."""
    event = (await editor.create("event", title="A", acronym="a"))["id"]
    hall = (await editor.create("event_location", event, name="Hall"))["id"]
    attic = (await editor.create("event_location", event, name="Attic"))["id"]
    ids = {"event": event, "hall": hall, "attic": attic}
    for name, hours in {"keynote": (9, 10), "talk": (10, 11), "loose": None}.items():
        times = {"starts_at": at(hours[0]), "ends_at": at(hours[1])} if hours else {}
        data: dict[str, Any] = {"title": name, "guid": name, "location_id": hall if hours else None, **times}
        ids[name] = (await editor.create("event_session", event, **data))["id"]
    return ids


def at(hour: int, minute: int = 0) -> str:
    return f"2026-11-21T{hour:02}:{minute:02}:00.000Z"


def move(session: str, start: str, **args: Any) -> Message:
    """Return the fields of a call that moves a session."""
    target = {"type": "event_session", "rec": session}
    return {"action": "event_session.reschedule", "target": target, "args": {"starts_at": start, **args}}


async def test_a_session_is_moved_and_keeps_its_length(editor: Client, programme: dict[str, str]) -> None:
    watch = (await editor.ok("watch.start", type="event_session"))["watch"]
    message = await editor.call("action.call", **move(programme["talk"], at(14)))
    assert message["data"] == {
        "rec": programme["talk"],
        "version": 2,
        "starts_at": at(14),
        "ends_at": at(15),
        "location_id": programme["hall"],
    }
    (event,) = await editor.changes(watch)
    assert (event["kind"], event["patch"]["starts_at"], event["patch"]["ends_at"]) == ("update", at(14), at(15))
    assert message["seq"] == (await editor.ok("session.beat"))["seq"]


async def test_an_overlap_is_refused_with_the_next_free_slot(editor: Client, programme: dict[str, str]) -> None:
    message = await editor.call("action.call", **move(programme["talk"], at(9, 30)))
    assert (message["op"], message["code"]) == ("error", "action.failed")
    assert message["details"]["conflict"]["rec"] == programme["keynote"]
    assert message["details"]["suggestion"] == {"starts_at": at(10), "ends_at": at(11)}
    talk = await editor.ok("record.get", type="event_session", rec=programme["talk"])
    assert (talk["version"], talk["starts_at"]) == (1, at(10))
    other_room = move(programme["talk"], at(9, 30), location=programme["attic"])
    assert (await editor.ok("action.call", **other_room))["location_id"] == programme["attic"]


async def test_of_two_moves_into_one_slot_at_once_one_is_refused(editor: Client, programme: dict[str, str]) -> None:
    numbers = [
        await editor.send("action.call", **move(programme[name], at(14), location=programme["attic"]))
        for name in ("talk", "keynote")
    ]
    answers = [await editor.answer(number) for number in numbers]
    assert sorted(a.get("code", "ok") for a in answers) == ["action.failed", "ok"]


async def test_a_repeated_call_with_its_key_moves_once(editor: Client, programme: dict[str, str]) -> None:
    first = await editor.call("action.call", **move(programme["talk"], at(14)), key="k")
    await editor.ok("action.call", **move(programme["talk"], at(16)))
    again = await editor.call("action.call", **move(programme["talk"], at(14)), key="k")
    assert (again["data"], again["seq"]) == (first["data"], first["seq"])
    assert (await editor.ok("record.get", type="event_session", rec=programme["talk"]))["starts_at"] == at(16)
    other = await editor.call("action.call", **move(programme["talk"], at(18)), key="k")
    assert other["code"] == "key.reused"


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"action": "no.such"}, "action.unknown", "action"),
        ({"action": "event_session.reschedul"}, "action.unknown", "action"),
        ({"action": 5}, "data.invalid", "action"),
        ({"target": None}, "data.invalid", "target"),
        ({"target": {"type": "event", "rec": "EVENT"}}, "data.invalid", "target"),
        ({"target": {"type": "event_session", "rec": "AAAAAAAAAAA"}}, "record.not_found", "target.rec"),
        ({"target": {"type": "event_session"}}, "data.invalid", "target.rec"),
        ({"args": {}}, "data.invalid", "args.starts_at"),
        ({"args": {"starts_at": "tomorrow"}}, "data.invalid", "args.starts_at"),
        ({"args": {"starts_at": "2026-11-21T14:00:00"}}, "data.invalid", "args.starts_at"),
        ({"args": {"starts_at": at(14), "nope": 1}}, "data.invalid", "args.nope"),
        ({"args": {"starts_at": at(14), "location": "AAAAAAAAAAA"}}, "record.not_found", "args.location"),
        ({"args": []}, "data.invalid", "args"),
        ({"mode": "background"}, "data.invalid", "mode"),
        ({"timeout": 0}, "data.invalid", "timeout"),
        ({"timeout": 1e9}, "data.invalid", "timeout"),
        ({"nope": 1}, "data.invalid", "nope"),
    ],
)
async def test_a_call_that_cannot_work_is_refused_with_its_path(
    editor: Client, programme: dict[str, str], change: Message, code: str, path: str
) -> None:
    assert await editor.refused("action.call", **{**move(programme["talk"], at(14)), **change}) == (code, path)
    assert (await editor.ok("record.get", type="event_session", rec=programme["talk"]))["version"] == 1


async def test_an_action_needs_its_right(tenant: Tenant) -> None:
    async with tenant.client("viewer") as viewer, tenant.client("editor") as editor:
        target = {"type": "event_session", "rec": "AAAAAAAAAAA"}
        answer = await viewer.call("action.call", action="event_session.reschedule", target=target)
        assert (answer["code"], answer["details"]["needs"]) == ("access.denied", "event_session.update")
        assert (await editor.refused("action.call", action="api_key.issue", args={"role": "owner"}))[
            0
        ] == "access.denied"


async def test_the_operators_actions_answer_on_his_socket_only(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner, operator(tenant.process) as client:
        for name, args in {"account.create": {"name": "mine"}, "signin.link": {"account": "main"}}.items():
            assert await owner.refused("action.call", action=name, args=args) == ("access.denied", "action")
        for name, message in {"Not A Name": "data.invalid", tenant.name: "record.exists"}.items():
            assert (await client.refused("action.call", action="account.create", args={"name": name}))[0] == message


async def test_progress_comes_before_the_answer_of_its_call(editor: Client) -> None:
    programme = {
        "event": {"acronym": "p", "title": "P"},
        "locations": [],
        "tracks": [],
        "persons": [],
        "sessions": [],
    }
    number = await editor.send("action.call", action="event.import_programme", args={"programme": programme})
    answer = await editor.answer(number)
    assert answer["op"] == "ok", answer
    told = [m for m in editor.log if m["op"] == "progress"]
    assert told
    assert all(m["call"] == number for m in told)
    assert [m["n"] for m in told] == list(range(1, len(told) + 1))
    assert editor.log.index(told[-1]) < editor.log.index(answer)


async def test_a_person_is_made_once_under_a_key(tenant: Tenant) -> None:
    async with operator(tenant.process) as client:
        await client.greet(account=tenant.name)
        ask = {"action": "user.create", "args": {"name": "Grace", "role": "viewer"}, "key": "grace"}
        first, again = [await client.call("action.call", **ask) for _ in range(2)]
        assert (again["data"], again["seq"]) == (first["data"], first["seq"])
        found = await client.ok("record.find", type="membership", where={"name": "Grace"})
        assert [record["user_id"] for record in found["records"]] == [first["data"]["id"]]


# -- schema.describe ---------------------------------------------------------------------------------


async def test_the_schema_tells_types_fields_operators_and_actions(editor: Client) -> None:
    data = await editor.ok("schema.describe")
    assert set(data) == {"types", "actions", "lookups", "channels", "commands", "hash"}
    session = data["types"]["event_session"]
    assert session["parent"] == "event"
    assert session["permissions"] == [f"event_session.{verb}" for verb in ("read", "create", "update", "delete")]
    properties = session["schema"]["properties"]
    assert {"title", "location_id", "tags", "starts_at"} <= set(properties)
    assert "location" not in properties
    assert session["schema"]["required"] == ["title", "guid"] or "title" in session["schema"]["required"]
    assert "$icontains" in session["operators"]["title"]
    assert "$icontains" not in session["operators"]["guid"]
    assert "event_session.reschedule" in data["actions"]
    assert "api_key.issue" not in data["actions"]
    assert "account.create" not in data["actions"]


async def test_the_schema_holds_only_what_the_role_may_see(tenant: Tenant) -> None:
    seen = {}
    for role in ("viewer", "editor", "owner"):
        async with tenant.client(role) as client:
            seen[role] = await client.ok("schema.describe")
    assert "event_import" not in seen["viewer"]["types"]
    assert "event_import" in seen["editor"]["types"]
    assert "api_key" not in seen["editor"]["types"]
    key = seen["owner"]["types"]["api_key"]
    assert "digest" not in str(key)
    assert not {"user", "account", "session"} & set(seen["owner"]["types"])
    assert "event_session.reschedule" not in seen["viewer"]["actions"]
    assert len({data["hash"] for data in seen.values()}) == 3


async def test_a_schema_that_is_known_is_not_sent_again(editor: Client) -> None:
    known = (await editor.ok("schema.describe"))["hash"]
    again = await editor.ok("schema.describe", have=known)
    assert (again["hash"], again["types"], again["actions"]) == (known, {}, {})
    assert (await editor.ok("schema.describe", have="other"))["types"] != {}


async def test_the_schema_of_some_types(editor: Client) -> None:
    data = await editor.ok("schema.describe", types=["event", "event_track"])
    assert set(data["types"]) == {"event", "event_track"}
    assert await editor.refused("schema.describe", types=["event", "nope"]) == ("type.unknown", "types.1")
    assert await editor.refused("schema.describe", types="event") == ("data.invalid", "types")


async def test_of_some_types_only_their_actions_are_described(editor: Client) -> None:
    for types, actions in {
        ("event_session",): {"event_session.reschedule"},
        ("event",): {"event.import_programme"},
        ("event_track",): set(),
        ("event", "event_session"): {"event.import_programme", "event_session.reschedule"},
    }.items():
        assert set((await editor.ok("schema.describe", types=list(types)))["actions"]) == actions


async def test_the_operator_is_told_of_the_actions_that_answer_him_only(tenant: Tenant) -> None:
    async with tenant.client("owner") as client:
        owner = await client.ok("schema.describe")
    async with operator(tenant.process, tenant.name) as client:
        described = await client.ok("schema.describe", have=owner["hash"])
    told = set(described["actions"]) - set(owner["actions"])
    assert told == OPERATORS
    assert told >= {"account.create", "signin.link", "user.create", "user.remove", "user.role", "user.sign_out"}


async def test_a_refused_choice_lists_what_is_possible(tenant: Tenant, editor: Client) -> None:
    for fields, path, listed in (
        ({"op": "session.beat", "status": "zzz"}, "status", "send active, away or idle."),
        ({"op": "action.call", "action": "event.import_programme", "mode": "x"}, "mode", "send background or wait."),
    ):
        answer = await editor.call(**fields)
        assert (answer["code"], answer["path"]) == ("data.invalid", path)
        assert answer["message"].endswith(listed), answer["message"]
    async with tenant.client("owner") as desk:
        answer = await desk.call("action.call", action="api_key.issue", args={"role": "king"})
    assert answer["path"] == "args.role"
    assert "guest, viewer, member, editor, manager, owner, or create a role" in answer["message"]
