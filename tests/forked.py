"""`aether` in a process of its own that was forked from one with its modules loaded: it starts in a third of the time.

What is left out for each of hundreds of hubs and commands is Python reading the same modules again, and working out
the same statements from the same record types (`tests.loaded`); everything else from the command line on is run:
arguments, environment, streams, signals, exit code. That `aether` also starts as an operator starts it is held by the
tour of the README, by the first hub of the room of the wire and by others that say `fresh`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

COMMAND: Final = str(Path(sys.executable).with_name("aether"))
"""How an operator's shell finds the command."""
CONTEXT: Final = multiprocessing.get_context("forkserver")
"""What forks processes that have the modules of a hub loaded."""
CONTEXT.set_forkserver_preload(["tests.loaded"])


def _become(words: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> None:
    """In the new process: be what `aether` with these words would be."""
    assert "tests.loaded" in sys.modules, "the modules were not loaded before the fork"
    os.chdir(folder)
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(line_buffering=False, write_through=bool(environment.get("PYTHONUNBUFFERED")))  # type: ignore[union-attr]
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv = [COMMAND, *words]
    from aether_client.cli import app

    app()


class Forked:
    """A running command, with what a `subprocess.Popen` has. What it says is added to two files, or to one."""

    def __init__(self, words: list[str], environment: Mapping[str, str], folder: Path, out: Path, err: Path) -> None:
        arguments = (words, dict(environment), str(folder), str(out.absolute()), str(err.absolute()))
        self._process: ForkServerProcess = CONTEXT.Process(target=_become, args=arguments, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; raise `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("aether", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, where it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def without_settings(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of this process without the settings of a hub, and with more.

    That a key was used is a commit, which tests that count commits do not expect: only those about it ask for it.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AETHER_")}
    return kept | {"AETHER_KEY_USE_SECONDS": "0"} | dict(more or {})


def aether(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with more environment; what it printed is what `subprocess.run` would have caught."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        command = Forked(list(words), without_settings(environment), Path.cwd(), out, err)
        try:
            code = command.wait(60)
        finally:
            command.kill()
        return subprocess.CompletedProcess(list(words), code, out.read_text("utf-8"), err.read_text("utf-8"))
