"""npm's `oidc-provider` as a process of its own, installed into `var/` when it is first needed."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from playwright._impl._driver import compute_driver_executable

NODE: Final = Path(__file__).parent / "node"
INSTALLED: Final = NODE.parents[2] / "var" / "oidc-node"
SECRET: Final = "known to the hub and its provider"
INSTALL_SECONDS: Final = 300
START_SECONDS: Final = 30


def modules() -> Path:
    """Return the folder of the installed modules: those of `node/package-lock.json`, installed once."""
    wanted, here = NODE / "package-lock.json", INSTALLED / "complete"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not here.exists() or here.read_bytes() != wanted.read_bytes():
            assert shutil.which("npm") is not None, "npm is not installed: scripts/test.sh installs it"
            for name in ("package.json", "package-lock.json"):
                shutil.copy(NODE / name, INSTALLED)
            done = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"],
                check=False, cwd=INSTALLED, capture_output=True, text=True, timeout=INSTALL_SECONDS,
            )  # fmt: skip
            assert done.returncode == 0, f"npm ci cannot install oidc-provider: {done.stderr[-500:]}"
            shutil.copy(wanted, here)
    return INSTALLED / "node_modules"


@contextlib.contextmanager
def running(folder: Path, port: int, redirect: str) -> Iterator[str]:
    """Run the provider on a port, with one client that is sent back to `redirect`; yield its issuer."""
    node, _ = compute_driver_executable()  # the one that is there on every machine that runs the tests
    log = folder / "provider.log"
    with log.open("wb") as out:
        command = [str(node), str(NODE / "provider.mjs"), str(modules()), str(port), redirect]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
    try:
        until = time.monotonic() + START_SECONDS
        while "provider at" not in log.read_text("utf-8"):
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < until, log.read_text("utf-8")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
