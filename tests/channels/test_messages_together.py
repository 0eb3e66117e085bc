"""What is told to many in a channel is kept once for all of them, and each hears what it would hear alone."""

from __future__ import annotations

from channels.fanout import Fanout
from channels.messages import Messages, entry_of
from channels.outlet import Outlet
from hub.schema.channels import Channel
from hub.wire.codec import JSON, MSGPACK
from storage.channel_log import InProcessLog
from tests.channels.test_fanout import Socket, Turns

KEY = ("account", "talk:a")
TALK = Channel("talk", join="viewer", send="viewer", history=100)
STRICT = Channel("talk", join="viewer", send="viewer", slow="close")


class Scene:
    """A room and the sockets in it; the loop turns when it is told to."""

    def __init__(self, channel: Channel = TALK) -> None:
        self.turns = Turns()
        self.channel = channel
        self.slow: list[Outlet] = []
        fanout = Fanout(self.turns.soon)
        fanout.many = 1
        self.messages = Messages(InProcessLog(), self.slow.append, fanout)

    async def join(self, name: str, max_bytes: int = 1024 * 1024) -> Socket:
        socket = Socket(self.turns, JSON if len(name) % 2 else MSGPACK, max_bytes)
        await self.messages.join(KEY, socket.outlet, name, None, self.channel, None)
        return socket

    async def say(self, data: object, sender: str | None = None, socket: Socket | None = None) -> None:
        """Say something; a sender does not hear it, and has its answer."""
        entry = entry_of(
            {"event": "e", "data": data, "from": None}, self.channel, sender, None, echo=sender is None, ttl=None
        )
        offset, then = await self.messages.send(KEY, self.channel, entry, None if socket is None else socket.outlet)
        if socket is not None:
            socket.outlet.answer(socket.outlet.codec.encode({"op": "ok", "offset": offset}))
        if then is not None:
            then()


def said(socket: Socket) -> list[object]:
    """What a socket heard: the data of messages, and `ok` for an answer."""
    return [m.get("data", m["op"]) for m in socket.heard]


async def test_messages_of_one_turn_reach_everybody_with_one_write() -> None:
    scene = Scene()
    sockets = [await scene.join(name) for name in ("a", "bb", "c", "dd")]
    for n in range(20):
        await scene.say(n)
    assert all(not socket.sent for socket in sockets)
    scene.turns.turn()
    for socket in sockets:
        assert socket.writes == 1
        assert said(socket) == list(range(20))


async def test_who_speaks_without_echo_has_the_answer_in_the_place_of_the_message() -> None:
    scene = Scene()
    one, other, third = [await scene.join(name) for name in ("a", "bb", "c")]
    await scene.say(1)
    await scene.say(2, "a", one)
    await scene.say(3, "bb", other)
    await scene.say(4)
    scene.turns.turn()
    scene.turns.turn()
    assert said(one) == [1, "ok", 3, 4]
    assert said(other) == [1, 2, "ok", 4]
    assert said(third) == [1, 2, 3, 4]
    await scene.say(5)
    scene.turns.turn()
    assert [said(s)[-1] for s in (one, other, third)] == [5, 5, 5], "they are told together again"


async def test_who_joins_meanwhile_hears_what_is_said_from_then_on() -> None:
    scene = Scene()
    one = await scene.join("a")
    await scene.say(1)
    late = await scene.join("bb")
    await scene.say(2)
    scene.messages.leave(KEY, one.outlet)
    await scene.say(3)
    scene.turns.turn()
    scene.turns.turn()
    assert said(one) == [1, 2], "what was said before it left is not lost"
    assert said(late) == [2, 3]


async def test_a_socket_that_does_not_read_has_a_hole_and_nobody_else() -> None:
    scene = Scene()
    slow, quick = await scene.join("a", max_bytes=2000), await scene.join("bb")
    slow.pause()
    for n in range(100):
        await scene.say(str(n).rjust(100))
        if n % 7 == 0:
            scene.turns.turn()
        assert slow.outlet.size <= 2000
    scene.turns.turn()
    assert len(said(quick)) == 100
    slow.resume()
    scene.turns.turn()
    offsets = [message["offset"] for message in slow.heard]
    assert offsets[-1] == 100
    assert any(b != a + 1 for a, b in zip([0, *offsets], offsets, strict=False)), "what is missing shows"
    assert scene.slow == []


async def test_where_the_namespace_says_so_a_socket_that_does_not_read_is_closed_once() -> None:
    scene = Scene(STRICT)
    slow, quick = await scene.join("a", max_bytes=500), await scene.join("bb")
    slow.pause()
    for n in range(50):
        await scene.say(str(n).rjust(100))
    scene.turns.turn()
    assert scene.slow == [slow.outlet]
    slow.resume()
    scene.turns.turn()
    assert slow.heard[-1] == {"op": "reset", "channel": "talk:a", "why": "slow"}
    assert len(said(quick)) == 50
