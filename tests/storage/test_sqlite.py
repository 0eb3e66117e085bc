"""The keeper on SQLite keeps the promise of storage."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.sql.sqlite import SqliteStorage
from tests.storage.contract import StorageContract
from tests.storage.declared import Use, registry, ticking


class TestSqlite(StorageContract):
    """The whole contract."""

    @pytest.fixture
    async def use(self, tmp_path: Path) -> AsyncIterator[Use]:
        """Return an empty keeper."""
        use = Use(SqliteStorage(registry, tmp_path / "hub.sqlite", ticking(), durability="normal"))
        await use.storage.start()
        yield use
        await use.storage.close()
