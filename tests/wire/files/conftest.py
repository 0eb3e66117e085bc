"""One hub for all tests of files; each test uses events and names of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire.files.support import RunningHub, running_hub


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A running hub."""
    with running_hub(tmp_path_factory.mktemp("hub")) as started:
        yield started
