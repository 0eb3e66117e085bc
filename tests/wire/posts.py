"""Posts over one connection that is kept, for tests that ask thousands of things: every byte that comes back, and no
more work than that. A client for people, as httpx is, takes ten times as long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

SECONDS = 20.0


class Posts:
    """A connection to the address of a hub, opened when it is first needed and again where the hub ended it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.scheme == "http"
        self._host, self._port = parts.hostname, parts.port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Post JSON; return the head of the answer and its body, as they came."""
        lines = {
            "host": f"{self._host}:{self._port}",
            "content-type": "application/json",
            "content-length": str(len(body)),
            **headers,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        async with asyncio.timeout(SECONDS):
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            said = dict(line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if line)
            content = await reader.readexactly(int(said[b"content-length"]))
        if said.get(b"connection") == b"close":
            await self.close()
        return answer, content

    async def close(self) -> None:
        """End the connection."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            await streams[1].wait_closed()
