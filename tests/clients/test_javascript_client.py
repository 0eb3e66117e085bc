"""The JavaScript client and the pure parts of the console, tested by Node against a peer of straw.

The tests themselves are `tests/clients/js/*.test.js`. Node comes with Playwright's driver, so wherever the tests of
the page can run these can too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playwright._impl._driver import compute_driver_executable

HERE = Path(__file__).resolve().parent / "js"
FILES = sorted(HERE.glob("*.test.js"))


def test_there_are_tests_of_the_javascript_client() -> None:
    assert {file.name for file in FILES} >= {
        "connection.test.js",
        "watch.test.js",
        "channel.test.js",
        "messages.test.js",
        "feed.test.js",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".test.js"))
def test_the_javascript_client_keeps_its_promises(file: Path) -> None:
    node, _ = compute_driver_executable()
    run = subprocess.run(
        [node, "--test", "--test-reporter=spec", str(file)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "ℹ skipped 0" in run.stdout, run.stdout
