"""A TCP proxy that breaks: it passes bytes on, holds them, drops a statement's answer, or resets every connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct


class Proxy:
    """Stands on `port` before a server on this machine."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        # Bytes of a request: the connection that sends them is reset right behind, or before they are passed on.
        self.cut_after: bytes | None = None
        self.cut_before: bytes | None = None
        self.cuts = 0
        self._open = asyncio.Event()
        self._open.set()
        self._muted: set[asyncio.StreamReader | None] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._open.set()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self) -> None:
        """Pass nothing on until `let_go`; connections stay open."""
        self._open.clear()

    def let_go(self) -> None:
        """Pass on again."""
        self._open.set()

    def reset(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            _reset(writer)
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up, down = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, down}
        for task in (
            asyncio.create_task(self._pass(reader, down, writer, up)),
            asyncio.create_task(self._pass(up, writer, down, None)),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        answers: asyncio.StreamReader | None,
    ) -> None:
        request = answers is not None
        with contextlib.suppress(OSError, RuntimeError):  # the latter is uvloop's word for a transport that is closed
            while data := await reader.read(65536):
                await self._open.wait()
                if reader in self._muted:
                    continue
                if request and self.cut_before is not None and self.cut_before in data:
                    self.cut_before = None
                    self.cuts += 1
                    break
                if request and self.cut_after is not None and self.cut_after in data:
                    self.cut_after = None
                    self.cuts += 1
                    self._muted.add(answers)
                    writer.write(data)
                    await asyncio.sleep(0.1)  # until the server has done it
                    break
                writer.write(data)
                await writer.drain()
        for each in (writer, back):
            self._writers.discard(each)
            _reset(each)


def _reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None and not writer.is_closing():
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
