"""The peer on python-socketio and uvicorn, over websockets only. Run as `python -m benchmarks.pysocketio PORT`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import socketio  # type: ignore[import-untyped]
import uvicorn

_STATUSES = {None, "active", "idle", "away"}


def served() -> Any:
    """Return the application: `say` is passed on to every watcher as `said`, `beat` is checked and answered."""
    hub = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], cors_allowed_origins="*")

    async def connect(session: str, environ: dict[str, Any], auth: Any = None) -> None:
        if parse_qs(environ.get("QUERY_STRING", "")).get("watch") == ["1"]:
            await hub.enter_room(session, "watchers")

    async def say(session: str, message: Any) -> None:
        await hub.emit("said", message, room="watchers")

    async def beat(session: str, message: Any) -> dict[str, Any]:
        if not isinstance(message, dict) or message.get("op") != "session.beat" or message.keys() - {"op", "status"}:
            return {"code": "data.invalid"}
        if message.get("status") not in _STATUSES:
            return {"code": "data.invalid"}
        return {"now": datetime.now(UTC).isoformat(timespec="milliseconds"), "seq": 1}

    for handler in (connect, say, beat):
        hub.on(handler.__name__, handler)
    return socketio.ASGIApp(hub)


if __name__ == "__main__":
    uvicorn.run(
        served(), host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", log_level="warning", backlog=4096,
        ws_per_message_deflate=False,
    )  # fmt: skip
