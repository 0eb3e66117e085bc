"""A connection that blocks, in a thread of its own: for changes of tables, which take long and read files.

Knows settings of connections, no table.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from storage.mariadb.connection import CONNECT_SECONDS, INIT

DRIVER: Final = "mysql+pymysql"
"""What aiomysql itself is built on."""

T = TypeVar("T")


@contextmanager
def connected(url: URL) -> Iterator[Connection]:
    """Yield a connection to a database; it is closed in the end."""
    engine = create_engine(
        url.set(drivername=DRIVER),
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        poolclass=NullPool,
        connect_args={
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_SECONDS,
            "init_command": INIT,
            "program_name": "aether",
        },
    )
    with engine.connect() as connection:
        yield connection


async def apart(work: Callable[[], T]) -> T:
    """Run what blocks in a thread of its own, and return what it returns.

    Who stops waiting does not stop it, and it keeps no process from ending, which frees the database's lock.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # T may be None

    def run() -> None:
        try:
            outcome: tuple[T | None, BaseException | None] = (work(), None)
        except BaseException as error:
            outcome = (None, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="aether-schema", daemon=True).start()
    return await done
