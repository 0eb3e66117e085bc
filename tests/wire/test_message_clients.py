"""The Python client in a channel of a real hub: whatever happens to its socket, it hears everything once, in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from aether_client import Client as PythonClient
from aether_client import connection
from aether_client.channel import Channel, ChannelGap, ChannelMessage
from aether_client.codec import CodecName
from tests.wire.talk import Client
from tests.wire.tenant import Tenant
from tests.wire.test_channels import make_event
from tests.wire.test_messages import say


async def take(items: AsyncIterator[object], count: int) -> list[ChannelMessage | ChannelGap]:
    """Return the next messages and gaps of a channel; changes of the roster are left out."""
    found: list[ChannelMessage | ChannelGap] = []
    while len(found) < count:
        item = await anext(items)
        if isinstance(item, ChannelMessage | ChannelGap):
            found.append(item)
    return found


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> list[ClientConnection]:
    """Every socket that the library opens, to be cut."""
    opened: list[ClientConnection] = []
    dial = getattr(connection, "dial")  # noqa: B009  # it is not its own

    async def noted(*given: Any) -> ClientConnection:
        opened.append(await dial(*given))
        return opened[-1]

    monkeypatch.setattr(connection, "dial", noted)
    return opened


async def joined(channel: Channel) -> AsyncIterator[object]:
    """Return the items of a channel, the first of which says that it is joined."""
    items = aiter(channel)
    await anext(items)
    return items


async def test_what_is_said_while_the_socket_is_away_is_recovered(
    tenant: Tenant, editor: Client, codec: CodecName, sockets: list[ClientConnection]
) -> None:
    name = f"event:{await make_event(editor)}"
    async with PythonClient(tenant.process.url, token=tenant.keys["editor"], codec=codec) as library:
        await library.online()
        channel = library.join(name)
        items = await joined(channel)
        said = 0
        for _ in range(5):
            for _ in range(10):
                said += 1
                await say(editor, name, data=said)
            sockets[-1].transport.abort()
            for _ in range(10):
                said += 1
                await say(editor, name, data=said)
        heard = await take(items, said)
        assert [(m.offset, m.data) for m in heard if isinstance(m, ChannelMessage)] == [
            (n, n) for n in range(1, said + 1)
        ]
        answers = [await channel.send("mine", n, echo=False) for n in range(3)]
        assert [answer.data["offset"] for answer in answers] == [said + 1, said + 2, said + 3]
        await say(editor, name, data="last", ttl=60)
        (last,) = await take(items, 1)
        assert isinstance(last, ChannelMessage)
        assert (last.offset, last.data, last.sender["name"]) == (said + 4, "last", "editor")


async def test_what_the_hub_no_longer_has_is_a_gap(
    tenant: Tenant, editor: Client, sockets: list[ClientConnection]
) -> None:
    name = f"event:{await make_event(editor)}"
    async with PythonClient(tenant.process.url, token=tenant.keys["editor"]) as library:
        await library.online()
        channel = library.join(name)
        items = await joined(channel)
        sockets[-1].transport.abort()
        channel._place = {"epoch": "of another life", "offset": 7}
        assert await take(items, 1) == [ChannelGap("epoch")]
        await say(editor, name, data=1)
        (message,) = await take(items, 1)
        assert isinstance(message, ChannelMessage)
        assert (message.offset, message.data) == (1, 1)
