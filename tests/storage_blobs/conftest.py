"""A blob store in a temporary folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.blobs.disk import DiskBlobs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of the store."""
    return tmp_path / "blobs"


@pytest.fixture
async def blobs(root: Path) -> AsyncIterator[DiskBlobs]:
    """A started store without a reserve."""
    store = DiskBlobs(root, reserve_bytes=0)
    await store.start()
    yield store
    await store.close()
