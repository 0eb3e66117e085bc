"""A hub in a process of its own: `aether serve` on a free port over SQLite in a temporary folder."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.forked import COMMAND, Forked, without_settings

REPOSITORY: Final = Path(__file__).resolve().parents[2]
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 20.0


class HubProcess:
    """A running hub; `secrets` are texts that its logs must never hold.

    It is forked (`tests.forked`), unless it is to be `fresh`, as an operator starts it, or a command stands `before`
    its own. `port` 0 is a free one.
    """

    def __init__(
        self, data: Path, *, fresh: bool = False, before: Sequence[str] = (), port: int = 0, **settings: str
    ) -> None:
        self.data = data
        self.secrets: set[str] = set()
        self._log = data.with_suffix(".log")
        self._out = data.with_suffix(".out")
        environment = without_settings({f"AETHER_{name.upper()}": value for name, value in settings.items()})
        environment.setdefault("AETHER_LOG_LEVEL", "debug")
        environment.setdefault("AETHER_AUDIT_DAYS", "0")  # its commits come when they come: tests that count ask for it
        self._process = self._spawn(fresh, before, ["serve", "--port", str(port), "--data", str(data)], environment)
        self.greeting = self._read_greeting()
        found = re.search(r"live at (http://\S+)", self.greeting)
        if found is None:
            self.signal(signal.SIGKILL)
            raise AssertionError(f"the hub did not start: {self.greeting}\n{self.log}")
        self.url = found[1]
        self.secrets |= set(re.findall(r"#signin=(\S+)", self.greeting))

    def _spawn(
        self, fresh: bool, before: Sequence[str], words: list[str], environment: dict[str, str]
    ) -> Forked | subprocess.Popen[bytes]:
        self._out.write_bytes(b"")
        self._log.write_bytes(b"")
        if not fresh and not before:
            return Forked(words, environment, REPOSITORY, self._out, self._log)
        with self._out.open("ab") as out, self._log.open("ab") as log:
            return subprocess.Popen([*before, COMMAND, *words], cwd=REPOSITORY, env=environment, stdout=out, stderr=log)

    def _read_greeting(self) -> str:
        begun = time.monotonic()
        while time.monotonic() - begun < START_SECONDS:
            ended = self._process.poll() is not None
            said = self._out.read_text("utf-8")
            if ended or ("sign in" in said and said.endswith("\n")):
                return said
            time.sleep(0.005)
        return ""

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
        return self._process.wait(STOP_SECONDS)

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
        found = [secret[:12] for secret in self.secrets if secret in log]
        assert not found, f"secrets in the log: {found}"
