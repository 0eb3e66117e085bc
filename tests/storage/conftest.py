"""One MariaDB server for the tests of this room that do not ask what survives it, and tables worked out once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.prepared import prepared_once
from tests.storage.mariadb_server import FAST, MariadbServer, running


@pytest.fixture(scope="session", autouse=True)
def _prepared() -> Iterator[None]:
    with prepared_once():
        yield


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariadbServer]:
    """Return a server that runs as long as the session; each test makes itself a database."""
    with running(*FAST) as server:
        yield server
