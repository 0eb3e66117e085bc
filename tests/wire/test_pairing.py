"""Devices: a short code on a screen, a manager who confirms it, and a key that is given once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handlers import pace, pairing
from handlers.pairing import ALPHABET, code_of, plain
from hub.schema.times import format_time, parse_time
from hub.wire.errors import HubError
from tests.forked import Forked, without_settings
from tests.wire.hubprocess import REPOSITORY
from tests.wire.inside import Inside, assembled_in_memory
from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, operator


async def act(client: Client, action: str, **args: Any) -> Any:
    """Call an action; return its result."""
    return await client.ok("action.call", action=action, args=args)


async def refused(client: Client, action: str, **args: Any) -> tuple[str, str | None]:
    """Call an action that must be refused."""
    return await client.refused("action.call", action=action, args=args)


async def shown(tenant: Tenant, device: Client, name: str = "Foyer") -> Message:
    """Let a device ask for a code."""
    made: Message = await act(device, "device.pair", name=name)
    tenant.process.secrets |= {made["secret"], made["code"], plain(made["code"])}
    return made


async def test_a_device_gets_the_key_that_a_manager_confirmed_and_works_with_it(tenant: Tenant, codec: str) -> None:
    async with tenant.client(None, codec) as device, tenant.client("owner") as owner:
        code = await shown(tenant, device)
        assert (code["every"], len(code["code"])) == (1.0, 9)
        assert (await act(device, "device.paired", secret=code["secret"]))["paired"] is False
        waiting = await device.send(
            "action.call", action="device.paired", args={"secret": code["secret"], "wait": pairing.WAIT_SECONDS}
        )
        made = await act(owner, "device.confirm", code=f" {code['code'].lower()} ", role="viewer", name="Foyer left")
        answer = (await device.answer(waiting))["data"]
        tenant.process.secrets.add(answer["key"])
        assert (answer["paired"], answer["device"], answer["account"]) == (True, made["id"], tenant.account)
        assert (answer["name"], answer["role"]) == ("Foyer left", "viewer")
        await device.greet(answer["key"])
        assert await device.ok("record.find", type="event") is not None
        assert (await device.refused("record.create", type="event", data={"title": "x"}))[0] == "access.denied"

        key = (await owner.ok("record.find", type="api_key", where={"device_id": made["id"]}))["records"][0]
        assert "digest" not in key
        await owner.ok("record.update", type="device", rec=made["id"], data={"disabled": True})
        assert await device.closed() == 4505


async def test_a_key_is_given_once_whoever_asks_how_often(tenant: Tenant) -> None:
    async with tenant.client(None) as device, tenant.client(None) as thief, tenant.client("owner") as owner:
        code = await shown(tenant, device)
        asked = [
            (
                client,
                await client.send("action.call", action="device.paired", args={"secret": code["secret"], "wait": 9}),
            )
            for client in (device, thief, device, thief)
        ]
        await act(owner, "device.confirm", code=code["code"])
        answers = [await client.answer(number) for client, number in asked]
        keys = [answer["data"]["key"] for answer in answers if answer["op"] == "ok"]
        assert len(keys) == 1
        tenant.process.secrets.add(keys[0])
        assert {answer["code"] for answer in answers if answer["op"] == "error"} == {"auth.invalid"}
        assert await refused(device, "device.paired", secret=code["secret"]) == ("auth.invalid", "args.secret")
        assert await refused(owner, "device.confirm", code=code["code"]) == ("record.not_found", "args.code")


async def test_one_of_two_managers_confirms_a_code(tenant: Tenant) -> None:
    async with tenant.client(None) as device, tenant.client("owner") as one, tenant.client("owner") as two:
        code = await shown(tenant, device)
        numbers = [
            await c.send("action.call", action="device.confirm", args={"code": code["code"]}) for c in (one, two)
        ]
        answers = [await client.answer(number) for client, number in zip((one, two), numbers, strict=True)]
        assert sorted(answer["op"] for answer in answers) == ["error", "ok"]
        devices = (await one.ok("record.find", type="device"))["records"]
        assert len(devices) == 1
        tenant.process.secrets.add((await act(device, "device.paired", secret=code["secret"]))["key"])


async def test_who_may_not_make_devices_or_gives_more_than_they_have_confirms_nothing(tenant: Tenant) -> None:
    async with tenant.client(None) as device, tenant.client("editor") as editor, tenant.client("owner") as owner:
        code = await shown(tenant, device)
        assert (await refused(device, "device.confirm", code=code["code"]))[0] == "auth.required"
        assert (await refused(editor, "device.confirm", code=code["code"]))[0] == "access.denied"
        assert await refused(owner, "device.confirm", code=code["code"], role="nobody-has-it") == (
            "data.invalid",
            "args.role",
        )
        issued = await owner.ok("action.call", action="api_key.issue", args={"role": "manager"})
        tenant.process.secrets.add(issued["key"])
        async with connected(tenant.process.socket_url) as manager:
            await manager.greet(issued["key"])
            assert (await refused(manager, "device.confirm", code=code["code"], role="owner")) == (
                "access.denied",
                "args.role",
            )
            assert (await act(manager, "device.confirm", code=code["code"], role="editor"))["role"] == "editor"
        tenant.process.secrets.add((await act(device, "device.paired", secret=code["secret"]))["key"])


@pytest.mark.parametrize("typed", ["", "ABCD", "ABCD-EFG1", "ABCD-EFGHJ", "АBCD-EFGH"])
async def test_what_can_be_no_code_is_refused_with_the_characters_that_there_are(shared: Tenant, typed: str) -> None:
    async with shared.client("owner") as owner:
        assert await refused(owner, "device.confirm", code=typed) == ("data.invalid", "args.code")


async def test_secrets_that_are_none_tell_nothing(shared: Tenant) -> None:
    async with shared.client(None) as guest:
        for secret in ("", "x", "aed_" + "A" * 43 + "000000", "aed_" + "A" * 49, shared.keys["owner"][:60]):
            assert await refused(guest, "device.paired", secret=secret) == ("auth.invalid", "args.secret")
        assert (await refused(guest, "device.paired", secret="x", wait=21))[1] == "args.wait"
        assert await refused(guest, "device.pair", name="") == ("data.invalid", "args.name")
        assert (await refused(guest, "device.pair", name="\u200b"))[0] == "data.invalid"


# -- inside one process, where the time can be set and bounds can be low ---------------------------------


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub whose records are in memory."""
    return assembled_in_memory(tmp_path / "data", monkeypatch)


async def test_a_code_counts_for_ten_minutes_and_what_is_over_is_removed(inside: Inside) -> None:
    services, later = inside.parts.hub.services, 0.0
    clock = services.clock
    services.clock = lambda: format_time(parse_time(clock()) + timedelta(seconds=later))
    async with inside.running():
        _, key = await inside.make_account("mine")
        async with connected(inside.socket_url) as device, connected(inside.socket_url) as owner:
            await device.greet()
            await owner.greet(key)
            old = await act(device, "device.pair", name="Old")
            late = await act(device, "device.pair", name="Late")
            await act(owner, "device.confirm", code=late["code"])
            later = pace.SECONDS + 1
            assert await refused(owner, "device.confirm", code=old["code"]) == ("record.not_found", "args.code")
            for shown in (old, late):
                assert await refused(device, "device.paired", secret=shown["secret"]) == ("auth.expired", "args.secret")
            await act(device, "device.pair", name="New")
            assert await refused(device, "device.paired", secret=old["secret"]) == ("auth.invalid", "args.secret")


async def test_an_address_and_all_together_show_so_many_codes(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "PENDING", pace.PER_ADDRESS - 1)
    async with inside.running(), connected(inside.socket_url) as device:
        await device.greet()
        for n in range(pace.PER_ADDRESS - 1):
            await act(device, "device.pair", name=f"Screen {n}")
        full = await device.call("action.call", action="device.pair", args={"name": "All"})
        assert (full["code"], full["retry_after"]) == ("rate.limited", 60)
        monkeypatch.setattr(pairing, "PENDING", 100)
        address = await device.call("action.call", action="device.pair", args={"name": "Mine"})
        assert address["code"] == "rate.limited"
        assert 500 < address["retry_after"] <= pace.SECONDS


async def test_more_devices_than_may_wait_are_told_to_ask_again(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "WAITING", 1)
    async with inside.running(), connected(inside.socket_url) as device:
        await device.greet()
        secret = (await act(device, "device.pair", name="Screen"))["secret"]
        waiting = await device.send("action.call", action="device.paired", args={"secret": secret, "wait": 1.5})
        again = await act(device, "device.paired", secret=secret, wait=20)
        assert again == {
            "paired": False,
            "every": 10.0,
            "key": None,
            "account": None,
            "device": None,
            "name": None,
            "role": None,
        }
        assert (await device.answer(waiting))["data"]["paired"] is False


async def test_guesses_at_codes_are_slowed_down(inside: Inside) -> None:
    async with inside.running():
        _, key = await inside.make_account("mine")
        async with connected(inside.socket_url) as device, connected(inside.socket_url) as owner:
            await device.greet()
            await owner.greet(key)
            code = (await act(device, "device.pair", name="Screen"))["code"]
            told = set()
            for n in range(40):
                wrong = "".join(ALPHABET[(n * 7 + k) % len(ALPHABET)] for k in range(8))
                told.add((await refused(owner, "device.confirm", code=wrong))[0])
            assert told == {"record.not_found", "rate.limited"}
            answer = await owner.call("action.call", action="device.confirm", args={"code": code})
            assert (answer["code"], answer["retry_after"] > 0) == ("rate.limited", True), "also for the right one"


# -- pure --------------------------------------------------------------------------------------------


def test_codes_use_every_character_alike_and_none_that_looks_like_another() -> None:
    assert not set("01OILSBZGU") & set(ALPHABET)
    assert code_of(bytes(range(256)))[:3] == ALPHABET[:3]
    fair = [byte for byte in range(256) if len(code_of(bytes([byte] * 64))) == 8]
    counts = {character: sum(code_of(bytes([byte] * 8))[0] == character for byte in fair) for character in ALPHABET}
    assert len(set(counts.values())) == 1
    assert plain("bsz2-3456") == "85223456"
    with pytest.raises(HubError, match="A code has 8 characters"):
        plain("1234")


# -- the command -------------------------------------------------------------------------------------


async def test_the_command_shows_a_code_and_keeps_the_key_for_the_next_ones(tenant: Tenant, tmp_path: Path) -> None:
    kept, out = tmp_path / "device.json", tmp_path / "out"
    out.touch()
    environment = without_settings({"AETHER_DEVICE": str(kept)})
    words = ["device", "pair", "--url", tenant.process.url, "--name", "Foyer"]
    command = Forked(words, environment, REPOSITORY, out, out)
    async with asyncio.timeout(20):
        while "Code: " not in out.read_text():
            assert command.poll() is None, out.read_text()
            await asyncio.sleep(0.02)
        code = out.read_text().partition("Code: ")[2][:9]
        async with tenant.client("owner") as owner:
            await act(owner, "device.confirm", code=code)
        while command.poll() is None:
            await asyncio.sleep(0.02)
    assert command.returncode == 0, out.read_text()
    assert "Paired as Foyer." in out.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    device = json.loads(kept.read_text())
    tenant.process.secrets.add(device["key"])
    assert (device["url"], device["account"]) == (tenant.process.url, tenant.account)
    assert device["key"] not in out.read_text()
    async with connected(tenant.process.socket_url) as client:
        await client.greet(device["key"])
        assert client.hello["account"] == tenant.account
    async with operator(tenant.process, tenant.name) as client:
        assert len((await client.ok("record.find", type="device"))["records"]) == 1

    for more, said in (
        ([], "already"),
        (["--again"], "Code: "),
    ):
        out.write_text("")
        command = Forked([*words, *more], environment, REPOSITORY, out, out)
        async with asyncio.timeout(20):
            while said not in out.read_text():
                await asyncio.sleep(0.02)
        command.kill()
        command.wait()
