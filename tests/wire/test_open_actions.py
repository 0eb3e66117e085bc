"""Actions that need no account: guests call those that need nothing, whoever has signed in those that need an identity.

What an argument declares to be secret is in nothing that is kept.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from msgspec import Struct

from hub import Context, Field, NewRecord, action
from hub.schema.actions import ActionSpec
from hub.schema.fields import DeclarationError
from packs.events.records import Event
from tests.wire.inside import Inside, assembled
from tests.wire.talk import connected

SECRET = "canary-of-an-argument"
TITLE = "canary-of-a-title"


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """A name, and a secret."""

    name: str = ""
    word: Annotated[str, Field(secret=True)] | None = None


class Told(Struct, frozen=True):
    """What is told once."""

    id: str
    word: Annotated[str, Field(secret=True)]


@action("word.say", needs="guest")
async def say(ctx: Context, args: Ask) -> str:
    """Say who asks."""
    return ctx.identity.source


@action("word.own", needs="identity")
async def own(ctx: Context, args: Ask) -> str:
    """Say who asks."""
    return ctx.identity.source


@action("word.where", needs="guest")
async def where(ctx: Context, args: Ask) -> str:
    """Say in which account."""
    return ctx.account


@action("word.keep", needs="event.create")
async def keep(ctx: Context, args: Ask) -> Told:
    """Make an event and tell a secret of it."""
    return await ctx.submit(
        [NewRecord(Event, {"title": args.name})], lambda done: Told(done.results[0].image["id"], "shown")
    )


@pytest.fixture
def inside(tmp_path: Path) -> Inside:
    """A hub with these actions."""
    hub = assembled(tmp_path / "data")
    for declared in (say, own, where, keep):
        spec: ActionSpec = vars(declared)["__action__"]
        hub.parts.hub.services.registry.add_action(spec)
    return hub


async def test_a_guest_calls_what_needs_nothing_and_nothing_else(inside: Inside, codec: str) -> None:
    async with inside.running(), connected(inside.socket_url, codec) as guest:
        await guest.greet()
        assert await guest.ok("action.call", action="word.say", key="k") == "guest"
        assert await guest.ok("action.call", action="word.say", key="k", args={"name": "other"}) == "guest"
        for name in ("word.own", "word.keep", "signin.link", "word.unknown"):
            assert (await guest.refused("action.call", action=name))[0] == "auth.required", name
        assert (await guest.refused("action.call", action="word.where"))[0] == "account.required"
        refused = await guest.refused("action.call", action="word.say", args={"word": 1})
        assert refused == ("data.invalid", "args.word")
        async with httpx.AsyncClient(base_url=inside.url, trust_env=False) as http:
            body = {"op": "action.call", "id": 1, "action": "word.say"}
            assert (await http.post("/rpc", json=body)).json()["data"] == "guest"
            body["action"] = "word.own"
            assert (await http.post("/rpc", json=body)).status_code == 401


async def test_who_has_signed_in_calls_both_and_is_told_of_them(inside: Inside) -> None:
    async with inside.running():
        _, key = await inside.make_account("mine")
        async with connected(inside.socket_url) as client:
            await client.greet(key)
            assert await client.ok("action.call", action="word.say") == "key"
            assert await client.ok("action.call", action="word.own") == "key"
            described = (await client.ok("schema.describe"))["actions"]
            assert (described["word.say"]["needs"], described["word.own"]["needs"]) == ("guest", "identity")
            properties = described["word.say"]["args"]["$defs"]["Ask"]["properties"]
            assert (properties["word"].get("writeOnly"), properties["name"].get("writeOnly")) == (True, None)


async def test_a_secret_argument_is_in_no_file_and_no_log_line_and_a_secret_answer_is_told_once(
    inside: Inside, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with inside.running():
        _, key = await inside.make_account("mine")
        async with connected(inside.socket_url) as client:
            await client.greet(key)
            call = {"action": "word.keep", "key": "k", "args": {"name": TITLE, "word": SECRET}}
            assert (await client.ok("action.call", **call))["word"] == "shown"
            assert await client.refused("action.call", **call) == ("action.failed", "key")
            other = {**call, "args": {"name": TITLE, "word": "another"}}
            assert (await client.refused("action.call", **other))[0] == "key.reused", "the digest tells them apart"
    files = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert any(TITLE.encode() in file.read_bytes() for file in files), "what is kept is found"
    assert [file.name for file in files if SECRET.encode() in file.read_bytes()] == []
    assert [line for line in caplog.messages if SECRET in line] == []


def test_an_open_action_has_no_target_and_is_not_the_operators() -> None:
    with pytest.raises(DeclarationError, match="no target"):
        action("word.of", needs="guest", target=Event)
    with pytest.raises(DeclarationError, match="no target"):
        action("word.of", needs="identity", operator=True)
    with pytest.raises(DeclarationError, match=r"noun\.verb"):
        action("word.of", needs="anybody")
