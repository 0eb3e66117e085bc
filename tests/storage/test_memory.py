"""The keeper in memory keeps the promise of storage."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from storage.memory import MemoryStorage
from tests.storage.contract import StorageContract
from tests.storage.declared import Use, registry, ticking


class TestMemory(StorageContract):
    """The whole contract."""

    @pytest.fixture
    async def use(self) -> AsyncIterator[Use]:
        """Return an empty keeper."""
        use = Use(MemoryStorage(registry, ticking()))
        await use.storage.start()
        yield use
        await use.storage.close()
