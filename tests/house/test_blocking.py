"""The guard of tests/conftest.py sees a blocking call of the house, and only there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError

import hub

SOURCE = "import time\n\ndef nap():\n    time.sleep(0)\n"


def _nap_of(path: Path) -> Any:
    names: dict[str, Any] = {}
    exec(compile(SOURCE, str(path), "exec"), names)
    return names["nap"]


async def test_a_blocking_call_of_the_house_fails_the_test() -> None:
    nap = _nap_of(Path(hub.__file__).parent / "drowsy.py")
    with pytest.raises(BlockingError):
        nap()


async def test_a_test_may_block_by_itself() -> None:
    time.sleep(0)  # noqa: ASYNC251
    _nap_of(Path(__file__))()
