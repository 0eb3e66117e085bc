"""A thousand connections that begin something and do not go on, or hardly: how long does a hub keep each?"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Final

from tests.proofs.attackers import UPGRADE

EVERY_SECONDS: Final = 1.0
"""How often a connection that dribbles sends a byte."""
BEGINNINGS: Final[dict[str, tuple[bytes, bytes]]] = {
    "nothing": (b"", b""),
    "headers, byte by byte": (b"GET /livez HTTP/1.1\r\nX-", b"x"),
    "an upgrade, byte by byte": (UPGRADE[:40], b"x"),
    "an upgrade and no hello": (UPGRADE, b""),
    "an upgrade and pings": (UPGRADE, b"\x89\x80\0\0\0\0"),
    "a body, byte by byte": (b"POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", b" "),
}
"""What is sent at once, and what is added every second."""


async def kept(port: int, name: str, longest: float) -> float:
    """Return for how many seconds a hub keeps such a connection, or `longest` where it still has it then."""
    first, more = BEGINNINGS[name]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begun = time.monotonic()
    writer.write(first)

    async def dribble() -> None:
        while more:
            await asyncio.sleep(EVERY_SECONDS)
            writer.write(more)

    dribbling = asyncio.create_task(dribble())
    try:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(longest):
                while await reader.read(65536):
                    pass
    except TimeoutError:
        return longest
    else:
        return time.monotonic() - begun
    finally:
        dribbling.cancel()
        writer.transport.abort()


async def all_kept(port: int, count: int, longest: float) -> dict[str, list[float]]:
    """Return for how many seconds a hub keeps each of so many connections, by what they do."""
    names = [name for n, name in zip(range(count), _again(BEGINNINGS), strict=False)]
    times = await asyncio.gather(*(kept(port, name, longest) for name in names))
    found: dict[str, list[float]] = {name: [] for name in BEGINNINGS}
    for name, seconds in zip(names, times, strict=True):
        found[name].append(seconds)
    return found


def _again(names: Iterable[str]) -> Iterable[str]:
    while True:
        yield from names
