"""The peer: what one would write first. A starlette websocket, an async ORM session for each request, SQLite.

Same durability as the hub's default: WAL and synchronous=FULL. Run as `python -m benchmarks.naive PORT FILE [--tuned]`:
tuned, what the row holds is taken from what was given instead of being read again after the commit.
"""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import uvicorn
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


class Base(DeclarativeBase):
    """The mapped classes of this service."""


class Talk(Base):
    """A row as the hub's event_track has it, without a log and without rights."""

    __tablename__ = "talk"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sort: Mapped[int]


class Beat(msgspec.Struct, forbid_unknown_fields=True):
    """The message of the hub's heartbeat."""

    op: Literal["session.beat"]
    id: int
    status: Literal["active", "idle", "away"] | None = None


_BEATS = msgspec.json.Decoder(Beat)


def main(port: int, file: str, *, tuned: bool = False) -> None:
    """Serve until killed."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")

    @event.listens_for(engine.sync_engine, "connect")
    def pragmas(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(engine, expire_on_commit=not tuned)

    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                message = json.loads(await socket.receive_text())
                async with sessions() as session:
                    row = Talk(**message["data"])
                    session.add(row)
                    await session.commit()
                    if not tuned:
                        await session.refresh(row)  # as tutorials have it: after a commit the row is expired
                answer = {"op": "ok", "id": message["id"], "data": {"id": row.id, "name": row.name, "sort": row.sort}}
                await socket.send_text(json.dumps(answer))
        except WebSocketDisconnect:
            return

    async def beat(socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                message = _BEATS.decode(await socket.receive_text())
                now = datetime.now(UTC).isoformat(timespec="milliseconds")
                answer = {"op": "ok", "id": message.id, "seq": 1, "data": {"now": now, "seq": 1}}
                await socket.send_text(msgspec.json.encode(answer).decode())
        except WebSocketDisconnect:
            return

    async def startup() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        await startup()
        yield

    app = Starlette(routes=[WebSocketRoute("/ws", endpoint), WebSocketRoute("/beat", beat)], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=port, loop="uvloop", log_level="warning", ws_per_message_deflate=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], tuned="--tuned" in sys.argv[3:])
