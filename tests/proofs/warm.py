"""A hub like any other, whose process is forked from one that has its modules loaded: it starts in a tenth of the time.

What is left out is Python reading the same modules again for each of thousands of hubs; everything from the command
line on is run. The first hub of a round starts as an operator starts it (`tests.wire.hubprocess`).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from signal import SIGKILL, Signals
from subprocess import TimeoutExpired
from typing import Final

from tests.wire.hubprocess import REPOSITORY, START_SECONDS, STOP_SECONDS, HubProcess

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.proofs.loaded"])


def _serve(arguments: list[str], environment: dict[str, str], out: Path, err: Path) -> None:
    """In the new process: become what `aether` with these arguments would be."""
    os.chdir(REPOSITORY)
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["aether", *arguments]
    from hub.cli.main import app

    app()


class WarmHub(HubProcess):
    """A running hub that was forked from a process with its modules loaded."""

    _hub: ForkServerProcess

    def _spawn(self, before: Sequence[str], arguments: list[str], environment: dict[str, str]) -> None:
        assert not before
        self._out = self.data.with_suffix(".out")
        self._out.unlink(missing_ok=True)
        self._hub = _CONTEXT.Process(target=_serve, args=(arguments, environment, self._out, self._log), daemon=True)
        self._hub.start()

    def _read_greeting(self) -> str:
        begun = time.monotonic()
        while time.monotonic() - begun < START_SECONDS:
            said = self._out.read_text("utf-8") if self._out.exists() else ""
            if ("sign in" in said and said.endswith("\n")) or self._hub.exitcode is not None:
                return said
            time.sleep(0.005)
        return ""

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._hub.pid is not None
        return self._hub.pid

    def signal(self, number: Signals) -> None:
        """Send a signal."""
        if self._hub.exitcode is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Return the exit code; raise where the hub does not end in time."""
        self._hub.join(STOP_SECONDS)
        code = self._hub.exitcode
        if code is None:
            raise TimeoutExpired("aether serve", STOP_SECONDS)
        return code

    def stop(self) -> None:
        """End the hub as an operator does; it must say goodbye, and its log must be one to show."""
        self.signal(Signals.SIGTERM)
        try:
            code = self.wait()
        except TimeoutExpired:
            self.signal(SIGKILL)
            raise AssertionError(f"the hub did not stop within {STOP_SECONDS} s\n{self.log[-4000:]}") from None
        self.check_log()
        assert code == 0, self.log[-4000:]
