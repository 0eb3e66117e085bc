"""Connections to MariaDB: the engine, what every session sets, and what a server must be like to be used.

Every session sets itself what the meaning of our statements depends on, so a server's own defaults do not
matter; what only the server's operator can set is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Iterator
from typing import Any, Final, Literal

import aiomysql
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from storage.base import StorageRefused
from storage.mariadb.faults import is_lost

Durability = Literal["full", "normal"]

DRIVER: Final = "mysql+aiomysql"
CONNECT_SECONDS: Final = 2
PING_SECONDS: Final = 1.0
HEARD_SECONDS: Final = 0.25
"""So long after its last answer a connection counts as alive: nobody is asked again before the next statement."""
STATEMENT_SECONDS: Final = 4
LOCK_SECONDS: Final = 3
IDLE_SECONDS: Final = 10
RECYCLE_SECONDS: Final = 1800
OLDEST: Final = (10, 6)
"""The first version with JSON_TABLE."""
_SESSION: Final = {
    "sql_mode": "'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
    # A transaction whose hub is gone gives its locks back.
    "idle_transaction_timeout": str(IDLE_SECONDS),
    "innodb_lock_wait_timeout": str(LOCK_SECONDS),
    "max_statement_time": str(STATEMENT_SECONDS),
    "tx_isolation": "'REPEATABLE-READ'",
    # A sortable text has at most 700 characters; the default would compare their beginnings only.
    "max_sort_length": "8192",
    "group_concat_max_len": "1073741824",
    "time_zone": "'+00:00'",
    "innodb_strict_mode": "ON",
}
INIT: Final = "SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin, " + ", ".join(
    f"SESSION {name} = {value}" for name, value in _SESSION.items()
)
_WANTED: Final = (
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "sync_binlog",
    "binlog_format",
    "max_allowed_packet",
    "version",
)

log: Final = logging.getLogger(__name__)


class Driver(aiomysql.Connection):  # type: ignore[misc]  # it ships no types
    """aiomysql's connection, which by itself leaves its socket open when it is cut off while connecting or closing."""

    heard = -math.inf
    """When the server last answered a statement, by the monotonic clock."""

    async def query(self, sql: str | bytes, unbuffered: bool = False) -> Any:
        """Run a statement."""
        affected = await super().query(sql, unbuffered)
        self.heard = time.monotonic()
        return affected

    async def _connect(self) -> None:
        try:
            await super()._connect()
        except BaseException:
            self.close()
            raise

    async def ping(self, reconnect: bool = False) -> None:
        """Ask whether somebody is there; no answer in time is a lost connection, and all older ones go with it."""
        if time.monotonic() - self.heard < HEARD_SECONDS:
            return
        try:
            async with asyncio.timeout(PING_SECONDS):
                await super().ping(reconnect)
        except TimeoutError:
            raise aiomysql.OperationalError(2013, "no answer to a ping") from None

    async def ensure_closed(self) -> None:
        """Say goodbye where somebody listens, and close in any case."""
        try:
            await super().ensure_closed()
        finally:
            self.close()


async def _driver(**options: Any) -> Driver:
    connection = Driver(**options)
    await connection._connect()
    return connection


def read_url(text: str) -> URL:
    """Return the address of a database; raise `StorageRefused` without showing a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StorageRefused(f"The setting database_url is not like {DRIVER}://user:password@host/database.") from None
    if url.drivername != DRIVER or not url.database:
        raise StorageRefused(f"The setting database_url is not like {DRIVER}://user:password@host/database.")
    return url


def open_engine(url: URL, size: int) -> AsyncEngine:
    """Return an engine of at most `size` connections; nothing is connected yet."""
    return create_async_engine(
        url,
        isolation_level="AUTOCOMMIT",  # transactions are begun and ended by our own statements
        skip_autocommit_rollback=True,
        pool_size=size,
        max_overflow=0,
        pool_timeout=2,
        pool_recycle=RECYCLE_SECONDS,
        pool_pre_ping=True,
        pool_use_lifo=True,
        connect_args={
            "async_creator_fn": _driver,
            "charset": "utf8mb4",
            "connect_timeout": CONNECT_SECONDS,
            "init_command": INIT,
            "program_name": "aether",
        },
    )


@contextlib.contextmanager
def rolled_back(connection: Connection) -> Iterator[None]:
    """Roll back where the body fails; a connection that cannot is never used again."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) or is_lost(error):
            connection.invalidate(error if isinstance(error, Exception) else None)
        else:
            roll_back(connection)
        raise


_BEGIN: Final = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION"


def begin(connection: Connection) -> None:
    """Begin a transaction that writes: what it reads is what is true now, and no gap between rows is locked."""
    connection.exec_driver_sql(begun_with())


def begun_with(sql: str = "") -> str:
    """Return the statement that begins such a transaction and runs another one in it, in one way to the server."""
    return f"BEGIN NOT ATOMIC {_BEGIN}; {sql}{';' if sql else ''} END"


@contextlib.contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """Let every statement of the body see the same state."""
    with rolled_back(connection):
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        yield
        connection.exec_driver_sql("COMMIT")


def roll_back(connection: Connection) -> None:
    """End a transaction without its writes."""
    try:
        connection.exec_driver_sql("ROLLBACK")
    except Exception as error:
        connection.invalidate(error)


def inspect(connection: Connection, durability: Durability) -> None:
    """Refuse a server that would lose or misunderstand what is written; warn of what is only unwise."""
    names = ", ".join(f"'{name}'" for name in _WANTED)
    rows = connection.exec_driver_sql(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})").all()
    found: dict[str, Any] = {str(name).lower(): str(value) for name, value in rows}
    version = found.get("version", "")
    numbers = tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())
    if "mariadb" not in version.lower() or numbers < OLDEST:
        raise StorageRefused(f"The database server is {version or 'unknown'}; the hub needs MariaDB 10.6 or newer.")
    logging_on = found.get("log_bin", "OFF") == "ON"
    if logging_on and found.get("binlog_format") == "STATEMENT":
        raise StorageRefused("The server writes its binary log by statement; set binlog_format = ROW or MIXED.")
    faults = []
    if found.get("innodb_flush_log_at_trx_commit") not in {"1", "3"}:
        faults.append("innodb_flush_log_at_trx_commit = 1")
    if logging_on and found.get("sync_binlog") != "1":
        faults.append("sync_binlog = 1")
    if faults:
        advice = f"set {' and '.join(faults)} on the server"
        if durability == "full":
            raise StorageRefused(
                f"The database server acknowledges writes before they are on disk: {advice}, "
                "or say durability = normal and accept that a power cut may lose the last ones."
            )
        log.warning("a power cut of the database server may lose the last writes; %s to prevent it", advice)
    if int(found.get("max_allowed_packet", 0)) < 16 << 20:
        log.warning("the server refuses records beyond its max_allowed_packet; set it to 16 MiB or more")
