"""A tiny load balancer: passes each connection to one of several servers in turn, past those that do not listen."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Final

CHUNK_BYTES: Final = 65536


class Front:
    """Listens on `port`. `targets` are ports on this machine and may be changed at any time."""

    def __init__(self, targets: list[int]) -> None:
        self.targets = targets
        self.port = 0
        self.served: dict[int, int] = {}
        """How many connections each target was given."""
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Front:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = next(self._turn)
        for n in range(len(self.targets)):
            target = self.targets[(turn + n) % len(self.targets)]
            with contextlib.suppress(OSError):
                up, down = await asyncio.open_connection("127.0.0.1", target)
                break
        else:
            writer.close()
            return
        self.served[target] = self.served.get(target, 0) + 1
        for source, sink in ((reader, down), (up, writer)):
            task = asyncio.create_task(_pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    writer.close()
