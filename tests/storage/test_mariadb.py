"""The keeper on MariaDB keeps the promise of storage."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.mariadb.keeper import MariadbStorage
from tests.storage.contract import StorageContract
from tests.storage.declared import Use, registry, ticking
from tests.storage.mariadb_server import MariadbServer


class TestMariadb(StorageContract):
    """The whole contract."""

    @pytest.fixture
    async def use(self, mariadb: MariadbServer) -> AsyncIterator[Use]:
        """Return an empty keeper."""
        url = mariadb.url(mariadb.new_database())
        use = Use(MariadbStorage(registry, url, ticking(), durability="normal"))
        await use.storage.start()
        yield use
        await use.storage.close()
