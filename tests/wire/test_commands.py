"""client.call, client.reply and the push `command`: who may ask whom what, and that each is answered once, in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from hub.schema.commands import ANSWER_BYTES, COMMAND_BYTES
from tests.wire.talk import Client, Message, Refused, connected, data_of
from tests.wire.tenant import Tenant, make_tenant
from tests.wire.test_channels import cut


@asynccontextmanager
async def device(tenant: Tenant, codec: str = "json", role: str = "viewer") -> AsyncIterator[tuple[Client, str]]:
    """Yield a client with a key of its own, and the id of that key."""
    async with tenant.client("owner") as owner:
        made = await owner.ok("action.call", action="api_key.issue", args={"role": role, "name": "kiosk"})
    tenant.process.secrets.add(made["key"])
    async with connected(tenant.process.socket_url, codec) as client:
        await client.greet(made["key"])
        client.hello["key"] = made["key"]
        yield client, made["id"]


async def begin(client: Client, to: Message, command: str = "RELOAD", **more: Any) -> int:
    """Call and do not wait; return the number of the request."""
    return await client.send("client.call", to=to, command=command, **more)


def me(client: Client, rec: str, name: str) -> Message:
    return {"kind": "device", "rec": rec, "name": name, "session": client.hello["session"]}


async def until_absent(client: Client, rec: str) -> None:
    """Return when the hub has noticed that a device is gone."""
    async with asyncio.timeout(10):
        while (await client.refused("client.call", to={"device": rec}, command="RELOAD", timeout=0.1))[0] != (
            "command.absent"
        ):
            await asyncio.sleep(0.01)


async def test_a_command_reaches_a_device_and_its_answer_the_caller(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as desk, device(tenant, codec) as (kiosk, rec):
        asked = await begin(desk, {"device": rec}, "OPEN_FILE", data={"file": "ü"})
        push = await kiosk.push("command")
        sender = push.pop("from")
        assert push == {"op": "command", "command": 1, "name": "OPEN_FILE", "data": {"file": "ü", "page": 1}}
        assert (sender["kind"], sender["name"], sender["session"]) == ("device", "editor", desk.hello["session"])
        assert await kiosk.ok("client.reply", command=1, data={"shown": [1, None]}) == {}
        assert data_of(await desk.answer(asked)) == {"data": {"shown": [1, None]}, "from": me(kiosk, rec, "kiosk")}
        asked = await begin(desk, {"session": kiosk.hello["session"]}, "IDENTIFY")
        push = await kiosk.push("command")
        assert (push["command"], push["data"]) == (2, {"seconds": 10})
        await kiosk.ok("client.reply", command=2, code="screen.off", message="There is no screen.")
        with pytest.raises(Refused) as refused:
            data_of(await desk.answer(asked))
        assert refused.value.code == "command.failed"
        assert refused.value.message["details"] == {"code": "screen.off", "message": "There is no screen."}


async def test_a_user_is_told_in_the_most_active_of_its_sessions_and_the_newest_of_these(
    tenant: Tenant, codec: str
) -> None:
    token = await tenant.sign_in()
    url = tenant.process.socket_url
    async with (
        tenant.client("editor", codec) as desk,
        connected(url, codec) as old,
        connected(url, codec) as young,
    ):
        for client in (old, young):
            await client.greet(token)
        to = {"user": old.hello["user"]}
        for awake, asleep in ((young, None), (old, young), (old, None), (young, old)):
            if asleep is not None:
                await asleep.ok("session.beat", status="idle")
                await awake.ok("session.beat", status="active")
            asked = await begin(desk, to)
            number = (await awake.push("command"))["command"]
            await awake.ok("client.reply", command=number, data=1)
            assert data_of(await desk.answer(asked))["from"]["session"] == awake.hello["session"]
        for client in (old, young):
            assert [m for m in await client.settled() if m["op"] == "command"] == []


async def test_who_is_not_there_is_absent_at_once_and_everybody_whom_one_may_not_know_too(
    tenant: Tenant, codec: str
) -> None:
    stranger = await make_tenant(tenant.process)
    async with (
        tenant.client("editor", codec) as desk,
        device(tenant, codec) as (kiosk, rec),
        device(stranger) as (foreign, foreign_rec),
    ):
        await cut(kiosk)
        await until_absent(desk, rec)
        begun = asyncio.get_running_loop().time()
        for to in (
            {"device": rec},
            {"session": kiosk.hello["session"]},
            {"device": foreign_rec},
            {"session": foreign.hello["session"]},
            {"user": rec},
            {"user": "nobody"},
        ):
            answer = await desk.call("client.call", to=to, command="RELOAD")
            assert (answer["code"], answer["path"]) == ("command.absent", "to")
            assert answer["message"] == "The client that the command is for is not connected; it was told nothing."
        assert asyncio.get_running_loop().time() - begun < 5, "which is less than one time-out"
        assert await foreign.settled() == []


async def test_a_client_that_does_not_answer_is_given_up_in_time_and_its_late_answer_refused(
    tenant: Tenant, codec: str
) -> None:
    async with tenant.client("editor", codec) as desk, device(tenant, codec) as (kiosk, rec):
        assert await desk.refused("client.call", to={"device": rec}, command="RELOAD", timeout=0.1) == (
            "command.timeout",
            None,
        )
        assert (await kiosk.push("command"))["command"] == 1
        await asyncio.sleep(0.1)
        assert await kiosk.refused("client.reply", command=1, data=1) == ("call.unknown", "command")
        assert await desk.settled() == []


async def test_only_the_session_that_was_told_may_answer_and_only_once(tenant: Tenant, codec: str) -> None:
    async with (
        tenant.client("editor", codec) as desk,
        device(tenant, codec) as (kiosk, rec),
        tenant.client("owner", codec) as other,
    ):
        asked = await begin(desk, {"device": rec})
        number = (await kiosk.push("command"))["command"]
        for client in (desk, other):
            assert await client.refused("client.reply", command=number, data=1) == ("call.unknown", "command")
        assert await kiosk.refused("client.reply", command=number + 1, data=1) == ("call.unknown", "command")
        await kiosk.ok("client.reply", command=number, data="mine")
        assert await kiosk.refused("client.reply", command=number, data=2) == ("call.unknown", "command")
        assert data_of(await desk.answer(asked))["data"] == "mine"


async def test_a_session_that_comes_back_may_still_answer(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as desk, device(tenant, codec) as (kiosk, rec):
        asked = await begin(desk, {"device": rec}, timeout=20)
        number = (await kiosk.push("command"))["command"]
        await cut(kiosk)
        async with connected(tenant.process.socket_url, codec) as back:
            await back.greet(kiosk.hello["key"], resume=kiosk.hello["resume"])
            assert back.hello["session"] == kiosk.hello["session"]
            await back.ok("client.reply", command=number, data="late")
            assert data_of(await desk.answer(asked))["data"] == "late"


async def test_a_session_that_ends_or_leaves_its_account_while_it_works_is_given_up_at_once(
    tenant: Tenant, codec: str
) -> None:
    async with tenant.client("editor", codec) as desk, device(tenant, codec) as (kiosk, rec):
        asked = await begin(desk, {"device": rec}, timeout=60)
        await kiosk.push("command")
        await kiosk.greet(tenant.keys["owner"])
        assert (await desk.answer(asked))["code"] == "command.timeout"
        assert await kiosk.refused("client.reply", command=1, data=1) == ("call.unknown", "command")
        assert (await desk.refused("client.call", to={"device": rec}, command="RELOAD"))[0] == "command.absent"
    async with tenant.client("editor", codec) as desk:
        async with device(tenant, codec) as (kiosk, rec):
            asked = await begin(desk, {"device": rec}, timeout=60)
            await kiosk.push("command")
        assert (await desk.answer(asked))["code"] == "command.timeout", "it has closed its socket in good order"


async def test_who_is_withdrawn_while_it_works_is_given_up_at_once(tenant: Tenant, codec: str) -> None:
    async with tenant.client("owner", codec) as desk, device(tenant, codec) as (kiosk, rec):
        asked = await begin(desk, {"device": rec}, timeout=60)
        await kiosk.push("command")
        await desk.ok("record.delete", type="api_key", rec=rec)
        assert (await desk.answer(asked))["code"] == "command.timeout"


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"command": "EXPLODE"}, "command.unknown", "command"),
        ({"command": "reload"}, "command.unknown", "command"),
        ({"command": "R" * 49}, "data.invalid", "command"),
        ({"data": {"n": 1}}, "data.invalid", "data.n"),
        ({"command": "OPEN_FILE"}, "data.invalid", "data.file"),
        ({"command": "OPEN_FILE", "data": {"file": 1}}, "data.invalid", "data.file"),
        ({"command": "OPEN_FILE", "data": {"file": "a", "page": 0}}, "data.invalid", "data.page"),
        ({"command": "OPEN_FILE", "data": {"file": "x" * COMMAND_BYTES}}, "message.too_large", "data"),
        ({"data": [1]}, "data.invalid", "data"),
        ({"to": {}}, "data.invalid", "to"),
        ({"to": {"user": "a", "device": "b"}}, "data.invalid", "to"),
        ({"to": {"account": "a"}}, "data.invalid", "to.account"),
        ({"timeout": 0}, "data.invalid", "timeout"),
        ({"timeout": 300.5}, "data.invalid", "timeout"),
        ({"queue_seconds": 0}, "data.invalid", "queue_seconds"),
        ({"queue_seconds": 86_401}, "data.invalid", "queue_seconds"),
        ({"to": {"session": "a"}, "queue_seconds": 5}, "data.invalid", "queue_seconds"),
    ],
)
async def test_what_cannot_be_asked_is_refused_and_nobody_is_told(
    shared: Tenant, codec: str, fields: Message, code: str, path: str
) -> None:
    async with shared.client("editor", codec) as desk, shared.client("viewer", codec) as kiosk:
        good = {"to": {"session": kiosk.hello["session"]}, "command": "RELOAD", "timeout": 5}
        assert await desk.refused("client.call", **{**good, **fields}) == (code, path)
        assert await kiosk.settled() == []


async def test_who_lacks_the_permission_is_denied_and_nobody_is_told(tenant: Tenant, codec: str) -> None:
    async with tenant.client("viewer", codec) as viewer, device(tenant, codec) as (kiosk, rec):
        answer = await viewer.call("client.call", to={"device": rec}, command="RELOAD", queue_seconds=60)
        assert (answer["code"], answer["details"]["needs"]) == ("access.denied", "event.update")
        async with connected(tenant.process.socket_url, codec) as guest:
            await guest.greet()
            assert (await guest.refused("client.call", to={"device": rec}, command="RELOAD"))[0] == "auth.required"
            assert (await guest.refused("client.reply", command=1))[0] == "auth.required"
        assert await kiosk.settled() == []


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"command": 0}, "data.invalid", "command"),
        ({"command": "1"}, "data.invalid", "command"),
        ({"message": "sorry"}, "data.invalid", "message"),
        ({"code": "a", "data": 1}, "data.invalid", "data"),
        ({"code": "Not a code"}, "data.invalid", "code"),
        ({"code": "a", "message": "x" * 1001}, "data.invalid", "message"),
        ({"data": "x" * (ANSWER_BYTES - 1)}, "message.too_large", "data"),
    ],
)
async def test_an_answer_that_cannot_be_taken_is_refused_and_may_be_given_again(
    shared: Tenant, codec: str, fields: Message, code: str, path: str
) -> None:
    async with shared.client("editor", codec) as desk, shared.client("viewer", codec) as kiosk:
        asked = await begin(desk, {"session": kiosk.hello["session"]})
        number = (await kiosk.push("command"))["command"]
        assert await kiosk.refused("client.reply", **{"command": number, **fields}) == (code, path)
        largest = "x" * (ANSWER_BYTES - 2)
        await kiosk.ok("client.reply", command=number, data=largest)
        assert data_of(await desk.answer(asked))["data"] == largest


async def test_a_command_waits_for_a_device_and_is_told_once_in_order_behind_its_hello(
    tenant: Tenant, codec: str
) -> None:
    async with tenant.client("editor", codec) as desk:
        async with device(tenant, codec) as (kiosk, rec):
            key = kiosk.hello["key"]
        await until_absent(desk, rec)
        waiting = [
            await begin(desk, {"device": rec}, "OPEN_FILE", data={"file": f"{n}"}, queue_seconds=60, timeout=30)
            for n in range(5)
        ]
        left = await desk.ok("client.call", to={"device": rec}, command="RELOAD", queue_seconds=60, timeout=0.05)
        assert left == {"queued": True}
        await desk.ok("session.beat")
        async with connected(tenant.process.socket_url, codec) as back:
            await back.greet(key)
            assert back.log[0]["op"] == "ok", "nothing comes before the answer of the hello"
            told = [await back.push("command") for _ in range(6)]
            assert [m["data"].get("file") for m in told] == ["0", "1", "2", "3", "4", None]
            for m in told[:5]:
                await back.ok("client.reply", command=m["command"], data=m["data"]["file"])
            assert [data_of(await desk.answer(n))["data"] for n in waiting] == ["0", "1", "2", "3", "4"]
            await back.ok("client.reply", command=told[5]["command"], data="nobody waits")
            await cut(back)
        async with connected(tenant.process.socket_url, codec) as again:
            await again.greet(key)
            assert await again.settled() == []


async def test_a_command_that_has_waited_for_too_long_is_absent_and_never_told(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as desk:
        async with device(tenant, codec) as (kiosk, rec):
            key = kiosk.hello["key"]
        await until_absent(desk, rec)
        assert (await desk.refused("client.call", to={"device": rec}, command="RELOAD", queue_seconds=0.05))[0] == (
            "command.absent"
        )
        async with connected(tenant.process.socket_url, codec) as back:
            await back.greet(key)
            assert await back.settled() == []


async def test_a_queue_holds_a_hundred_commands_for_one_device(tenant: Tenant) -> None:
    async with tenant.client("editor") as desk:
        async with device(tenant) as (kiosk, rec):
            key = kiosk.hello["key"]
        await until_absent(desk, rec)
        call: Message = {"to": {"device": rec}, "command": "RELOAD", "queue_seconds": 60, "timeout": 0.05}
        numbers = [await desk.send("client.call", **call) for _ in range(100)]
        assert [data_of(await desk.answer(n)) for n in numbers] == [{"queued": True}] * 100
        answer = await desk.call("client.call", **call)
        assert (answer["code"], answer["retry_after"]) == ("rate.limited", 10)
        async with connected(tenant.process.socket_url) as back:
            await back.greet(key)
            assert len([await back.push("command") for _ in range(100)]) == 100
            assert await back.settled() == []


async def test_over_http_one_calls_and_is_answered_too(tenant: Tenant) -> None:
    async with (
        device(tenant) as (kiosk, rec),
        httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http,
    ):
        headers = {"authorization": f"Bearer {tenant.keys['editor']}"}
        body = {"op": "client.call", "id": 1, "to": {"device": rec}, "command": "RELOAD"}
        asking = asyncio.create_task(http.post("/rpc", json=body, headers=headers))
        push = await kiosk.push("command")
        assert (push["from"]["name"], push["from"]["session"]) == ("editor", None)
        await kiosk.ok("client.reply", command=push["command"], data=7)
        answer = (await asking).json()
        assert (answer["op"], answer["data"]["data"]) == ("ok", 7)
        absent = await http.post("/rpc", json={**body, "to": {"device": "nobody"}}, headers=headers)
        assert (absent.status_code, absent.json()["code"]) == (404, "command.absent")
        reply = await http.post("/rpc", json={"op": "client.reply", "id": 1, "command": 1}, headers=headers)
        assert (reply.json()["code"], reply.json()["path"]) == ("data.invalid", "op")


async def test_commands_and_channels_are_described_to_who_may_use_them(tenant: Tenant, codec: str) -> None:
    async with tenant.client("editor", codec) as editor, tenant.client("viewer", codec) as viewer:
        found = await editor.ok("schema.describe", types=["event"])
        assert sorted(found["commands"]) == ["IDENTIFY", "OPEN_FILE", "RELOAD", "SLIDE_NEXT", "SLIDE_PREVIOUS"]
        reload = found["commands"]["RELOAD"]
        assert (reload["needs"], reload["to"], reload["doc"]) == (
            "event.update",
            ["device", "user"],
            "Load anew what is shown.",
        )
        assert found["commands"]["OPEN_FILE"]["args"]["$defs"]["OpenFile"]["required"] == ["file"]
        assert sorted(found["channels"]) == ["event"]
        assert found["channels"]["event"] == {
            "record": "event",
            "presence": True,
            "named": True,
            "history": 100,
            "seconds": 600,
            "last": 0,
            "message_bytes": 16384,
            "slow": "hole",
            "send": True,
            "see": True,
        }
        less = await viewer.ok("schema.describe")
        assert less["commands"] == {}
        assert {name: c["send"] for name, c in less["channels"].items()} == dict.fromkeys(
            ["audience", "broadcast", "cursors", "event", "event_session"], False
        )
        again = await viewer.ok("schema.describe", have=less["hash"])
        assert (again["unchanged"], again["commands"], again["channels"]) == (True, {}, {})


async def test_everybody_in_the_account_can_be_told_at_once_and_one_of_them_alone(tenant: Tenant, codec: str) -> None:
    stranger = await make_tenant(tenant.process)
    async with (
        tenant.client("editor", codec) as desk,
        tenant.client("viewer", codec) as one,
        tenant.client("owner", codec) as other,
        stranger.client("owner", codec) as foreign,
    ):
        for client in (desk, one, other, foreign):
            await client.ok("channel.join", channel="broadcast:all")
        await desk.ok("channel.send", channel="broadcast:all", event="note", data="all", echo=False)
        to = {"session": one.hello["session"]}
        await desk.ok("channel.send", channel="broadcast:all", event="note", data="one", to=to)
        heard = [[m["data"] for m in await c.settled() if m["op"] == "message"] for c in (desk, one, other, foreign)]
        assert heard == [[], ["all", "one"], ["all"], []]
        assert await one.refused("channel.send", channel="broadcast:all", event="note", data=1) == (
            "access.denied",
            "channel",
        )
        assert await one.refused("channel.join", channel="group:a") == ("access.denied", "channel")
        await desk.ok("channel.join", channel="group:a")
        await other.ok("channel.join", channel="group:a")
        await other.ok("channel.send", channel="group:a", event="said", data=1)
        assert (await desk.push("message"))["channel"] == "group:a"
