"""A server process that a test owns: it is stopped, killed and frozen, and its folder goes with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Final

END_SECONDS: Final = 30.0


class OwnServer:
    """One server process and its folder. Knows no protocol; those that speak one inherit."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the process of the server."""
        assert self._process is not None
        return self._process.pid

    @property
    def died(self) -> bool:
        """Whether the process ended, or was not started."""
        return self._process is None or self._process.poll() is not None

    def run_command(self, command: list[str]) -> None:
        """Start the process; what it says goes into the log of its folder."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self) -> None:
        """Stop the server in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the process where it is: its sockets stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def remove(self) -> None:
        """End the server and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder)

    def log(self) -> str:
        """Return what the server said last."""
        return (self.folder / "log").read_text("utf-8", "replace")[-4000:]

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.send_signal(number)
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
