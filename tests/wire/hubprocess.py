"""A hub in a process of its own: `aether serve` on a free port over SQLite in a temporary folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0


class HubProcess:
    """A running hub; `secrets` are texts that its logs must never hold, `before` stands in front of its command."""

    def __init__(self, data: Path, *, before: Sequence[str] = (), **settings: str) -> None:
        self.data = data
        self.secrets: set[str] = set()
        self._log = data.with_suffix(".log")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AETHER_")}
        environment |= {f"AETHER_{name.upper()}": value for name, value in settings.items()}
        environment["AETHER_LOG_LEVEL"] = "debug"
        self._spawn(before, ["serve", "--port", "0", "--data", str(data)], environment)
        self.greeting = self._read_greeting()
        found = re.search(r"live at (http://\S+)", self.greeting)
        if found is None:
            self.signal(signal.SIGKILL)
            raise AssertionError(f"the hub did not start: {self.greeting}\n{self.log}")
        self.url = found[1]
        self.secrets |= set(re.findall(r"#signin=(\S+)", self.greeting))

    def _spawn(self, before: Sequence[str], arguments: list[str], environment: dict[str, str]) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*before, str(Path(sys.executable).with_name("aether")), *arguments],
                cwd=REPOSITORY,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def _read_greeting(self) -> str:
        assert self._process.stdout is not None
        lines: list[str] = []
        begun = time.monotonic()
        while time.monotonic() - begun < START_SECONDS:
            line = self._process.stdout.readline()
            lines.append(line)
            if "sign in" in line or not line:
                break
        return "".join(lines)

    @property
    def socket_url(self) -> str:
        """The address of the socket."""
        return self.url.replace("http", "ws", 1) + "/ws"

    @property
    def unix(self) -> Path:
        """The socket of the operator."""
        return self.data / "hub.sock"

    @property
    def log(self) -> str:
        """What the hub logged so far."""
        return self._log.read_text("utf-8", "replace")

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def memory(self) -> int:
        """The resident memory of the process, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code; raise where the hub does not end in time."""
        code = self._process.wait(STOP_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def stop(self) -> None:
        """End the hub as an operator does; it must say goodbye, and its log must be one to show."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait()
            raise AssertionError(f"the hub did not stop within {STOP_SECONDS} s\n{self.log[-4000:]}") from None
        self.check_log()
        assert code == 0, self.log[-4000:]

    def check_log(self) -> None:
        """Fail where the log holds a traceback or a secret."""
        log = self.log
        assert "Traceback" not in log, log[-8000:]
        assert [secret[:12] for secret in self.secrets if secret in log] == []
