"""Who is at the other end: hello in all its forms, resume, renewal, expiry, withdrawal, and the beat."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from hub.auth import API_KEY, SESSION_TOKEN, make_token
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, connected
from tests.wire.tenant import Tenant, operator

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HELLO = {
    "session", "resume", "user", "account", "roles", "heartbeat", "server", "now", "epoch", "seq", "limits",
    "features", "display",
}  # fmt: skip


def soon(seconds: float) -> str:
    """Return a wire time so many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


async def key_record(tenant: Tenant, role: str) -> dict[str, Any]:
    """Return the record of a key of the account."""
    async with tenant.client("owner") as owner:
        found = await owner.ok("record.find", type="api_key", where={"name": role})
    (record,) = found["records"]
    return dict(record)


# -- the answer --------------------------------------------------------------------------------------


async def test_a_hello_tells_who_where_and_how_far(tenant: Tenant, codec: str) -> None:
    async with tenant.client(
        "editor", codec, client={"name": "test", "version": "1", "later": 1}, later={"a": [1]}
    ) as client:
        hello = client.hello
    assert set(hello) == HELLO
    assert (hello["user"], hello["account"], hello["roles"]) == (None, tenant.account, ["editor"])
    assert hello["server"]["name"] == "aether-hub"
    assert TIME.fullmatch(hello["now"])
    assert (hello["heartbeat"], type(hello["seq"]), type(hello["epoch"]), hello["features"]) == (
        20, int, str, ["presence.roster"],
    )  # fmt: skip
    assert hello["limits"]["frame_bytes"] == 1024 * 1024


async def test_without_a_token_one_is_a_guest_and_may_do_next_to_nothing(tenant: Tenant, codec: str) -> None:
    async with tenant.client(None, codec) as guest:
        assert set(guest.hello) == HELLO
        assert (guest.hello["user"], guest.hello["account"], guest.hello["roles"]) == (None, None, [])
        assert (guest.hello["epoch"], guest.hello["seq"]) == (None, None)
        assert (await guest.ok("session.beat"))["seq"] is None
        for op, fields in {
            "record.find": {"type": "event"},
            "watch.start": {"type": "event"},
            "schema.describe": {},
            "channel.join": {"channel": "event:x"},
            "session.auth": {"token": tenant.keys["editor"]},
        }.items():
            assert (await guest.refused(op, **fields))[0] == "auth.required", op


async def test_an_account_is_chosen_by_its_id_or_its_name(tenant: Tenant) -> None:
    for wanted in (tenant.account, tenant.name, None):
        async with tenant.client("viewer", **({"account": wanted} if wanted else {})) as client:
            assert client.hello["account"] == tenant.account
            assert client.hello["display"]["account"] == tenant.name


async def test_a_foreign_account_answers_like_one_that_is_not_there(tenant: Tenant, codec: str) -> None:
    async with connected(tenant.process.socket_url, codec) as client:
        answers = [
            await client.call("session.hello", token=tenant.keys["owner"], account=account)
            for account in ("main", "no-such-account", "system", "AAAAAAAAAAA")
        ]
        assert {(a["code"], a["path"], a["message"]) for a in answers} == {
            ("record.not_found", "account", answers[0]["message"])
        }
        await client.greet(tenant.keys["owner"])


async def test_the_first_message_is_a_hello(process: HubProcess, codec: str) -> None:
    async with connected(process.socket_url, codec) as client:
        assert await client.refused("session.beat") == ("auth.required", "op")
        await client.greet()


async def test_requests_behind_a_hello_wait_for_it(tenant: Tenant, codec: str) -> None:
    async with connected(tenant.process.socket_url, codec) as client:
        hello = await client.send("session.hello", token=tenant.keys["editor"])
        behind = [await client.send("record.find", type="event") for _ in range(3)]
        assert (await client.answer(hello))["op"] == "ok"
        for number in behind:
            assert (await client.answer(number))["op"] == "ok"


async def test_requests_behind_a_refused_hello_are_refused_one_by_one(tenant: Tenant, codec: str) -> None:
    async with connected(tenant.process.socket_url, codec) as client:
        hello = await client.send("session.hello", token="aek_wrong")
        beat = await client.send("session.beat")
        second = await client.send("session.hello", token=tenant.keys["editor"])
        find = await client.send("record.find", type="event")
        assert (await client.answer(hello))["code"] == "auth.invalid"
        assert (await client.answer(beat))["code"] == "auth.required"
        assert (await client.answer(second))["op"] == "ok"
        assert (await client.answer(find))["op"] == "ok"


async def test_without_a_hello_in_ten_seconds_the_socket_closes_with_4408(process: HubProcess) -> None:
    async def silent(codec: str, busy: bool) -> tuple[int, float]:
        async with connected(process.socket_url, codec) as client:
            begun = asyncio.get_running_loop().time()
            if busy:
                await client.refused("session.beat")
                await client.refused("session.hello", token="wrong")
            return await client.closed(), asyncio.get_running_loop().time() - begun

    for code, seconds in await asyncio.gather(silent("json", False), silent("msgpack", False), silent("json", True)):
        assert code == 4408
        assert 9.5 < seconds < 12


# -- tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        "",
        "wrong",
        "aek_",
        "Bearer x",
        make_token(API_KEY, b"\0" * 32),
        make_token(SESSION_TOKEN, b"\0" * 32),
        make_token(API_KEY, b"\0" * 32)[:-1] + "x",
        "ü" * 100,
        "aek_" + "A" * 8000,
    ],
)
async def test_a_token_that_is_not_valid_is_refused_and_the_socket_stays(
    shared: Tenant, codec: str, token: str
) -> None:
    async with connected(shared.process.socket_url, codec) as client:
        assert await client.refused("session.hello", token=token) == ("auth.invalid", "token")
        await client.greet(shared.keys["viewer"])


async def test_a_token_beyond_its_limit_is_invalid_data(process: HubProcess) -> None:
    async with connected(process.socket_url) as client:
        assert await client.refused("session.hello", token="a" * 8193) == ("data.invalid", "token")
        assert await client.refused("session.hello", token=5) == ("data.invalid", "token")


async def test_a_session_token_signs_a_user_in(tenant: Tenant, codec: str) -> None:
    token = await tenant.sign_in()
    async with connected(tenant.process.socket_url, codec) as client:
        hello = await client.greet(token)
        assert (hello["account"], hello["roles"], hello["display"]["user"]) == (tenant.account, ["owner"], "Ada")
        event = await client.create("event", title="A", acronym="a")
        assert event["created_by"] == hello["user"]
        members = await client.ok("record.find", type="membership")
        assert [m["user_id"] for m in members["records"]] == [hello["user"]]


async def test_what_a_key_wrote_says_which_key_it_was(tenant: Tenant, codec: str) -> None:
    key = (await key_record(tenant, "editor"))["id"]
    async with tenant.client("editor", codec) as client:
        event = await client.create("event", title="A", acronym="a")
        assert (event["created_by"], event["updated_by"]) == (key, key)
        session = await client.create("event_session", event["id"], title="t", starts_at=soon(60), ends_at=soon(120))
        target = {"type": "event_session", "rec": session["id"]}
    token = await tenant.sign_in()
    async with connected(tenant.process.socket_url, codec) as ada:
        user = (await ada.greet(token))["user"]
        args = {"starts_at": soon(600)}
        await ada.ok("action.call", action="event_session.reschedule", target=target, args=args)
        moved = await ada.ok("record.get", type="event_session", rec=session["id"])
        assert (moved["created_by"], moved["updated_by"]) == (key, user)
    async with tenant.client("owner", codec) as owner:
        args = {"starts_at": soon(900)}
        await owner.ok("action.call", action="event_session.reschedule", target=target, args=args)
        moved = await owner.ok("record.get", type="event_session", rec=session["id"])
        assert moved["updated_by"] == (await key_record(tenant, "owner"))["id"]
    async with operator(tenant.process, tenant.name) as desk:
        assert (await desk.create("event", title="B"))["created_by"] is None


async def test_a_sign_in_code_is_no_token_and_works_once(tenant: Tenant) -> None:
    async with operator(tenant.process) as client:
        link = await client.ok("action.call", action="signin.link", args={"account": tenant.name})
    async with connected(tenant.process.socket_url) as client:
        assert await client.refused("session.hello", token=link["code"]) == ("auth.invalid", "token")
    async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
        assert (await http.post("/auth/signin", json={"code": link["code"]})).status_code == 200
        again = await http.post("/auth/signin", json={"code": link["code"]})
        assert (again.status_code, again.json()["code"], again.json()["path"]) == (401, "auth.invalid", "code")


async def test_an_expired_key_is_refused_as_expired(tenant: Tenant) -> None:
    record = await key_record(tenant, "viewer")
    async with tenant.client("owner") as owner:
        await owner.ok("record.update", type="api_key", rec=record["id"], data={"expires_at": soon(-1)})
    async with connected(tenant.process.socket_url) as client:
        assert await client.refused("session.hello", token=tenant.keys["viewer"]) == ("auth.expired", "token")


async def test_a_key_that_expires_closes_its_sockets_with_4503(tenant: Tenant, codec: str) -> None:
    record = await key_record(tenant, "viewer")
    async with tenant.client("owner") as owner:
        await owner.ok("record.update", type="api_key", rec=record["id"], data={"expires_at": soon(1)})
    async with tenant.client("viewer", codec) as viewer:
        begun = asyncio.get_running_loop().time()
        assert await viewer.closed() == 4503
        assert asyncio.get_running_loop().time() - begun < 2
    async with connected(tenant.process.socket_url) as client:
        resume = viewer.hello["resume"]
        assert (await client.refused("session.hello", resume=resume))[0] == "auth.expired"


async def test_a_deleted_key_closes_its_sockets_with_4505_and_opens_none(tenant: Tenant, codec: str) -> None:
    record = await key_record(tenant, "viewer")
    async with tenant.client("viewer", codec) as viewer, tenant.client("owner") as owner:
        await viewer.ok("watch.start", type="event")
        await owner.ok("record.delete", type="api_key", rec=record["id"])
        await owner.create("event", title="after", acronym="after")
        assert await viewer.closed() == 4505
        assert "after" not in str(viewer.log)
    async with connected(tenant.process.socket_url) as client:
        assert await client.refused("session.hello", token=tenant.keys["viewer"]) == ("auth.invalid", "token")
        assert (await client.greet(resume=viewer.hello["resume"]))["account"] is None, "a guest like any other"


async def test_a_key_of_another_role_takes_effect_on_open_sockets(tenant: Tenant) -> None:
    record = await key_record(tenant, "editor")
    async with tenant.client("editor") as editor, tenant.client("owner") as owner:
        await editor.create("event", title="a", acronym="a")
        await owner.ok("record.update", type="api_key", rec=record["id"], data={"role": "viewer"})
        await editor.push("notice")
        assert (await editor.refused("record.create", type="event", data={}))[0] == "access.denied"
        assert (await editor.ok("record.find", type="event"))["records"] != []
    async with tenant.client("editor") as editor:
        assert editor.hello["roles"] == ["viewer"]
        assert (await editor.refused("record.create", type="event", data={}))[0] == "access.denied"


async def test_signing_out_ends_the_sockets_of_that_token_and_their_way_back(tenant: Tenant, codec: str) -> None:
    token, other = await tenant.sign_in(), await tenant.sign_in()
    url = tenant.process.socket_url
    async with connected(url, codec) as client, connected(url, codec) as bystander:
        await client.greet(token)
        await bystander.greet(other)
        async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
            answer = await http.post("/auth/signout", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 204
        assert await client.closed() == 4505
        await bystander.ok("session.beat")
    async with connected(url) as back:
        assert await back.refused("session.hello", token=token) == ("auth.invalid", "token")
        assert (await back.greet(resume=client.hello["resume"]))["account"] is None


# -- resume ------------------------------------------------------------------------------------------


async def cut(client: Client) -> None:
    """Break a socket off without a word."""
    client.socket.transport.abort()
    await client.socket.wait_closed()


async def test_a_resumed_session_keeps_its_id_and_gets_a_new_secret(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as first:
        before = first.hello
        await cut(first)
    async with tenant.client("editor", codec, resume=before["resume"]) as second:
        assert second.hello["session"] == before["session"]
        assert second.hello["resume"] != before["resume"]
        await cut(second)
    async with tenant.client("editor", codec, resume=before["resume"]) as third:
        assert third.hello["session"] != before["session"], "a secret works once"


async def test_the_secret_alone_brings_a_session_back(tenant: Tenant) -> None:
    async with tenant.client("editor") as first:
        await cut(first)
    async with connected(tenant.process.socket_url) as second:
        await second.greet(resume=first.hello["resume"])
        assert (second.hello["session"], second.hello["roles"]) == (first.hello["session"], ["editor"])
        await second.create("event", title="a", acronym="a")


async def test_a_session_that_was_left_cleanly_does_not_come_back(tenant: Tenant) -> None:
    async with tenant.client("editor") as first:
        pass
    async with tenant.client("editor", resume=first.hello["resume"]) as second:
        assert second.hello["session"] != first.hello["session"]


@pytest.mark.parametrize("secret", ["", "wrong", "ü", "AAAAAAAAAAAAAAAAAAAAAA"])
async def test_an_unknown_secret_begins_a_new_session(tenant: Tenant, secret: str) -> None:
    async with tenant.client("editor", resume=secret) as client:
        await client.ok("session.beat")
    async with connected(tenant.process.socket_url) as guest:
        await guest.greet(resume=secret)
        assert guest.hello["account"] is None


async def test_somebody_else_does_not_get_a_session_by_its_secret(tenant: Tenant) -> None:
    async with tenant.client("editor") as first:
        await cut(first)
    async with tenant.client("viewer", resume=first.hello["resume"]) as other:
        assert other.hello["session"] != first.hello["session"]
        assert other.hello["roles"] == ["viewer"]


async def test_a_session_whose_key_was_withdrawn_in_its_grace_does_not_come_back(tenant: Tenant) -> None:
    record = await key_record(tenant, "viewer")
    async with tenant.client("viewer") as viewer, tenant.client("owner") as owner:
        await cut(viewer)
        await owner.ok("record.delete", type="api_key", rec=record["id"])
    async with connected(tenant.process.socket_url) as client:
        assert (await client.greet(resume=viewer.hello["resume"]))["account"] is None


async def test_the_operator_comes_back_over_his_own_socket_only(tenant: Tenant) -> None:
    async with operator(tenant.process) as first:
        await cut(first)
    async with connected(tenant.process.socket_url) as stranger:
        assert await stranger.refused("session.hello", resume=first.hello["resume"]) == ("auth.invalid", "resume")
    async with connected("ws://localhost/ws", unix=tenant.process.unix) as second:
        assert (await second.greet(resume=first.hello["resume"]))["session"] == first.hello["session"]


async def test_resuming_ends_the_socket_that_the_session_still_has(tenant: Tenant) -> None:
    async with tenant.client("editor") as first, tenant.client("editor", resume=first.hello["resume"]) as second:
        assert second.hello["session"] == first.hello["session"]
        assert await first.closed() == 4412
        await second.ok("session.beat")


async def test_the_watches_of_a_session_end_with_its_socket(tenant: Tenant) -> None:
    async with tenant.client("editor") as first:
        watch = (await first.ok("watch.start", type="event"))["watch"]
        await cut(first)
    async with tenant.client("editor", resume=first.hello["resume"]) as second:
        await second.create("event", title="a", acronym="a")
        assert [m for m in await second.settled() if m["op"] == "change"] == []
        assert await second.refused("watch.stop", watch=watch) == ("record.not_found", "watch")


# -- a second hello ----------------------------------------------------------------------------------


async def test_a_second_hello_switches_the_account_and_ends_watches_and_channels(tenant: Tenant) -> None:
    async with operator(tenant.process, "main") as client, tenant.client("owner") as owner:
        first = client.hello
        watch = (await client.ok("watch.start", type="event"))["watch"]
        await client.greet(account=tenant.name)
        assert (client.hello["account"], client.hello["session"]) == (tenant.account, first["session"])
        assert client.hello["resume"] != first["resume"]
        assert await client.refused("watch.stop", watch=watch) == ("record.not_found", "watch")
        event = await owner.create("event", title="here", acronym="here")
        assert (await client.ok("record.get", type="event", rec=event["id"]))["title"] == "here"


async def test_a_second_hello_may_change_who_one_is(tenant: Tenant) -> None:
    async with tenant.client("editor") as client:
        await client.greet(tenant.keys["viewer"])
        assert (await client.refused("record.create", type="event", data={"title": "a", "acronym": "a"}))[0] == (
            "access.denied"
        )


async def test_a_refused_second_hello_changes_nothing(tenant: Tenant) -> None:
    async with tenant.client("editor") as client:
        watch = (await client.ok("watch.start", type="event"))["watch"]
        assert (await client.refused("session.hello", token="wrong"))[0] == "auth.invalid"
        assert (await client.refused("session.hello", token=tenant.keys["editor"], account="main"))[0] == (
            "record.not_found"
        )
        await client.create("event", title="a", acronym="a")
        assert [e["kind"] for e in await client.changes(watch)] == ["enter"]


# -- renewal and beat --------------------------------------------------------------------------------


async def test_a_token_is_renewed_without_dropping_anything(tenant: Tenant, codec: str) -> None:
    first, second = await tenant.sign_in(), await tenant.sign_in()
    async with connected(tenant.process.socket_url, codec) as client:
        await client.greet(first)
        watch = (await client.ok("watch.start", type="event"))["watch"]
        renewed = await client.ok("session.auth", token=second)
        assert TIME.fullmatch(renewed["expires_at"])
        assert renewed["roles"] == ["owner"]
        await client.create("event", title="a", acronym="a")
        assert len(await client.changes(watch)) == 1
        async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
            await http.post("/auth/signout", headers={"Authorization": f"Bearer {first}"})
        await client.ok("session.beat")


async def test_the_token_of_somebody_else_does_not_renew(tenant: Tenant) -> None:
    async with tenant.client("editor") as client:
        for token in (tenant.keys["viewer"], await tenant.sign_in(), "wrong"):
            assert await client.refused("session.auth", token=token) == ("auth.invalid", "token")
        await client.ok("record.find", type="event")
        assert await client.refused("session.auth") == ("data.invalid", "token")


async def test_a_beat_tells_the_time_and_how_far_the_account_is(editor: Client) -> None:
    message = await editor.call("session.beat", status="idle", telemetry={"cpu": 1})
    assert set(message) == {"op", "id", "seq", "data"}
    assert set(message["data"]) >= {"now", "seq"}
    assert message["seq"] == message["data"]["seq"] == editor.hello["seq"]
    _, seq = await editor.seq("record.create", type="event", data={"title": "a", "acronym": "a"})
    assert (await editor.ok("session.beat"))["seq"] == seq
    assert await editor.refused("session.beat", status="asleep") == ("data.invalid", "status")
    assert await editor.refused("session.beat", nope=1) == ("data.invalid", "nope")
