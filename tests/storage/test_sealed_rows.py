"""What stands in the rows of a database is encrypted, in MariaDB as in SQLite, and a dump brings it along."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from storage.sql.sqlite import SqliteStorage
from tests.storage.contract_secrets import code, opened
from tests.storage.declared import Use, box, registry, ticking
from tests.storage.mariadb_server import MariadbServer
from tests.storage.test_mariadb_dump import keeper


async def test_the_rows_of_sqlite_hold_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    use = Use(SqliteStorage(registry, path, ticking(), durability="normal"))
    await use.storage.start()
    made = await use.create(box, name="a", note="plain-note", code=code(1))
    await use.storage.close()
    assert b"plain-note" in path.read_bytes(), "what is no secret is there to be seen"
    assert b"canary" not in path.read_bytes()
    with sqlite3.connect(path) as connection:
        ((text,),) = connection.execute("SELECT code FROM box").fetchall()
    assert text.startswith("gAAAA"), "Fernet's version and time"
    again = Use(SqliteStorage(registry, path, ticking(), durability="normal"))
    await again.storage.start()
    assert await opened(again, made["id"]) == code(1)
    await again.storage.close()


async def test_the_rows_of_mariadb_hold_no_secret_and_a_restored_dump_opens(
    mariadb: MariadbServer, tmp_path: Path
) -> None:
    database = mariadb.new_database()
    use = keeper(mariadb, database)
    await use.storage.start()
    made = await use.create(box, name="a", note="plain-note", code=code(1))
    rows = [mariadb.run(f"SELECT * FROM `{table}`", database=database) for table in ("box", "change")]
    assert "plain-note" in repr(rows)
    assert "canary" not in repr(rows)
    assert await opened(use, made["id"]) == code(1)
    await use.storage.close()
