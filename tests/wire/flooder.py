"""A process of its own that floods a channel with updates of presence: `python -m tests.wire.flooder URL KEY`."""

from __future__ import annotations

import asyncio
import itertools
import sys
from contextlib import AsyncExitStack

from tests.wire.talk import Client, connected

SOCKETS = 10


async def flood(client: Client) -> None:
    """Send updates as fast as the socket takes them."""
    for n in itertools.count():
        await client.send("presence.update", channel="group:flood", state={"n": n})


async def main(url: str, key: str) -> None:
    """Join a channel with all sockets, say so, and flood."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(url)) for _ in range(SOCKETS)]
        for client in clients:
            await client.greet(key)
            await client.ok("channel.join", channel="group:flood", presence={})
        print("flooding", flush=True)
        await asyncio.gather(*(flood(client) for client in clients))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
