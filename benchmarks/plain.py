"""The peer: starlette on uvicorn, without a hub. What one says at /pub is sent to each at /sub, one after the other.

Run as `python -m benchmarks.plain PORT [deflate]`: with `deflate`, as uvicorn compresses where it is let.
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

_watchers: set[WebSocket] = set()


async def hear(socket: WebSocket) -> None:
    """Keep a watcher until it leaves."""
    await socket.accept()
    _watchers.add(socket)
    try:
        while True:
            await socket.receive_text()
    except WebSocketDisconnect:
        _watchers.discard(socket)


async def say(socket: WebSocket) -> None:
    """Pass on what a publisher says."""
    await socket.accept()
    try:
        while True:
            text = await socket.receive_text()
            for watcher in list(_watchers):
                await watcher.send_text(text)
    except WebSocketDisconnect:
        return


def main(port: int, *, deflate: bool) -> None:
    """Serve until killed."""
    app = Starlette(routes=[WebSocketRoute("/sub", hear), WebSocketRoute("/pub", say)])
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", log_level="warning", ws_per_message_deflate=deflate,
        backlog=4096,
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]), deflate=sys.argv[2:] == ["deflate"])
