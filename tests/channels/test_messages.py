"""What is said in a channel, below the wire: slow sockets, lost places, answers in their order, and every bound."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from channels import messages
from channels.messages import Messages, entry_of
from channels.outlet import Outlet
from channels.rosters import Who
from hub.schema.channels import Channel
from hub.schema.fields import DeclarationError
from hub.wire.errors import HubError
from storage.channel_log import Entry, InProcessLog, Place
from tests.channels.scene import Listener

KEY = ("account", "talk:a")
TALK = Channel("talk", join="viewer", send="viewer", history=100)


class Scene:
    """One room and who is in it."""

    def __init__(self) -> None:
        self.log = InProcessLog()
        self.slow: list[Outlet] = []
        self.messages = Messages(self.log, self.slow.append)

    async def join(
        self, name: str, max_bytes: int = 1024 * 1024, channel: Channel = TALK, after: Place | None = None
    ) -> Listener:
        listener = Listener(max_bytes=max_bytes)
        await self.messages.join(KEY, listener.outlet, name, Who("user", name, name), channel, after)
        return listener

    async def say(self, data: Any, channel: Channel = TALK, sender: str | None = None, echo: bool = True) -> int:
        entry = entry_of({"event": "e", "data": data, "from": None}, channel, sender, None, echo=echo, ttl=None)
        return (await self.messages.send(KEY, channel, entry, None))[0]


def offsets(listener: Listener) -> list[int]:
    return [m["offset"] for m in listener.heard() if m["op"] == "message"]


async def test_a_socket_that_does_not_read_loses_messages_with_a_hole_that_shows() -> None:
    scene = Scene()
    slow, quick = await scene.join("slow", max_bytes=2000), await scene.join("quick")
    for _ in range(50):
        await scene.say("x" * 100)
        assert slow.outlet.size <= 2000
    assert offsets(quick) == list(range(1, 51)), "the others notice nothing"
    seen = offsets(slow)
    assert seen[-1] == 50
    assert seen != list(range(seen[0], 51)) or seen[0] > 1, "what is missing shows"
    await scene.say("again")
    assert offsets(slow) == [51]
    assert scene.slow == []


async def test_where_the_namespace_says_so_a_socket_that_does_not_read_is_closed_once() -> None:
    scene = Scene()
    strict = Channel("talk", join="viewer", send="viewer", slow="close")
    slow, quick = await scene.join("slow", 500, strict), await scene.join("quick", channel=strict)
    for _ in range(50):
        await scene.say("x" * 100, strict)
    assert scene.slow == [slow.outlet]
    assert slow.heard()[-1] == {"op": "reset", "channel": "talk:a", "why": "slow"}
    assert len(quick.heard()) == 50


async def test_a_hole_in_what_the_log_tells_ends_the_channel_for_those_in_it() -> None:
    scene = Scene()
    one = await scene.join("one")
    await scene.say(1)
    scene.messages._told(KEY, Entry(msgspec.msgpack.encode({}), 0, place=Place("another", 1)))
    assert [m["op"] for m in one.heard()] == ["message", "reset"]
    await scene.say(2)
    assert one.heard() == [], "until it joins again"


async def test_a_place_that_was_told_already_is_told_once() -> None:
    scene = Scene()
    one = await scene.join("one")
    await scene.say(1)
    (entry,) = (await scene.log.past(KEY, TALK.kept, None, 1)).entries
    scene.messages._told(KEY, entry)
    assert offsets(one) == [1]


async def test_what_waits_for_an_answer_without_echo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "HELD", 3)
    scene = Scene()
    one = await scene.join("one")
    entry = entry_of({"event": "e", "data": 1, "from": None}, TALK, "one", None, echo=False, ttl=None)
    offset, then = await scene.messages.send(KEY, TALK, entry, one.outlet)
    assert then is not None
    for n in range(3):
        await scene.say(n)
    assert one.heard() == [], "the answer comes first"
    then()
    assert (offset, offsets(one)) == (1, [2, 3, 4])
    _, then = await scene.messages.send(KEY, TALK, entry, one.outlet)
    for n in range(4):
        await scene.say(n)
    assert one.heard() == [{"op": "reset", "channel": "talk:a", "why": "slow"}]
    assert then is not None
    then()
    assert one.heard() == []


async def test_nothing_is_left_of_a_channel_that_everybody_left() -> None:
    scene = Scene()
    sockets = [await scene.join(f"{n}") for n in range(3)]
    scene.messages.leave(KEY, sockets[0].outlet)
    scene.messages.leave(KEY, sockets[0].outlet)
    scene.messages.drop(sockets[1].outlet)
    assert scene.messages.end(KEY) == [sockets[2].outlet]
    assert (scene.messages._rooms, scene.messages._by_outlet, scene.log.bytes) == ({}, {}, 0)


@pytest.mark.parametrize("size", [98, 99])
def test_the_data_of_a_message_is_bounded(size: int) -> None:
    small = Channel("talk", join="viewer", message_bytes=100)
    body = {"event": "e", "data": "x" * size, "from": None}
    if size == 98:
        entry = entry_of(body, small, None, None, echo=True, ttl=None)
        assert msgspec.msgpack.decode(entry.body) == body
        return
    with pytest.raises(HubError, match=r"message\.too_large at data"):
        entry_of(body, small, None, None, echo=True, ttl=None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"namespace": "Talk"},
        {"namespace": "a" * 33},
        {"join": "anybody"},
        {"send": "anybody"},
        {"see": "anybody"},
        {"history": 1001},
        {"history": -1},
        {"seconds": 0},
        {"history": 5, "last": 6},
        {"message_bytes": 65_537},
    ],
)
def test_a_channel_that_cannot_work_is_refused_where_it_is_declared(wrong: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError):
        Channel(**{"namespace": "talk", "join": "viewer", **wrong})
