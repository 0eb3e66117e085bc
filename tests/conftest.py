"""What holds for every test: the house never blocks the event loop.

A blocking call (sleep, file, socket, SQLite …) made in a running loop by the hub or the client raises
`BlockingError`. Code of the tests themselves may block. Hubs started as processes are not watched.
"""

from __future__ import annotations

import functools
import gc
import ssl
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx

HOUSE = ["hub", "channels", "handlers", "storage", "packs", "aether_client"]

# (file, function): below these a call may block. Each with its reason.
ALLOWED = [
    # These call the synchronous tree of files directly; the store itself runs it in threads.
    ("storage_blobs/test_faults.py", "test_a_sweep_is_bounded_and_the_next_one_goes_on"),
    ("storage_blobs/test_faults.py", "test_a_sweep_between_creation_and_lock_does_not_take_the_file"),
    ("storage_blobs/test_faults.py", "test_the_bytes_are_synced_before_the_blob_is_visible"),
]


# Files that take longest go first, so that no process is left with one of them at the end.
LONGEST = (
    "simulation/",
    "proofs/test_kill9_socket",
    "proofs/test_million",
    "proofs/test_slow_handshakes",
    "wire/test_account_matrix",
    "storage/test_mariadb",
    "wire/test_slow_socket",
    "storage/test_migration_drift",
    "clients/test_python_sync",
    "browser/",
    "storage/test_differential",
    "wire/test_mariadb_hub",
    "wire/test_search",
    "clients/",
    "docs/test_readme_tour",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the longest files to the front; nothing else changes its place."""

    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((n for n, part in enumerate(LONGEST) if f"tests/{part}" in path), len(LONGEST))

    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take what the collection made, which stays to the end, from what the collector looks through."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _authorities_are_read_once() -> Iterator[None]:
    """Give every client of HTTP and of MariaDB the same context: none speaks TLS, and each would read for 20 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(autouse=True)
def _the_loop_never_blocks() -> Iterator[None]:
    with blockbuster_ctx(HOUSE) as guard:
        for function in guard.functions.values():
            for file, name in ALLOWED:
                function.can_block_in(file, name)
        yield
