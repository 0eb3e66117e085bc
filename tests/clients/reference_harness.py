"""Starting the reference peer and `aether` as processes of their own, and waiting for facts."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.forked import Forked

REPOSITORY = Path(__file__).resolve().parents[2]
TOKEN = "good-token"
EVENT = {"type": "event", "rec": "e1"}

_T = TypeVar("_T")


def wait_for(fact: Callable[[], _T], what: str, seconds: float = 30.0) -> _T:
    """Return the first value of `fact` that is true; fail, saying what did not happen, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < deadline, f"did not happen within {seconds} s: {what}"
        time.sleep(0.01)
    return found


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes that do not repeat."""
    return hashlib.shake_128(str(seed).encode()).digest(size)


def environment() -> dict[str, str]:
    """The environment of a started process: ours, without settings of the client, with the token."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AETHER_")}
    return {**own, "AETHER_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}


class PeerProcess:
    """The reference peer; can be killed and started again at the same place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.clients.reference_peer", str(self.port), str(self.folder)]
        self.process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def fresh(self) -> PeerProcess:
        """Return it running, without memory or faults: for the next test."""
        if self.process is None:
            self.start()
        self.control(reset=True)
        return self

    def control(self, **faults: Any) -> dict[str, Any]:
        """Set faults; return what the peer has seen."""
        answer = httpx.post(f"{self.url}/control", json=faults, trust_env=False)
        seen: dict[str, Any] = answer.json()
        return seen

    @property
    def seen(self) -> dict[str, Any]:
        return self.control()

    def put(self, name: str, data: bytes) -> dict[str, Any]:
        """Attach a file to the event, without the client under test."""
        digest = hashlib.sha256(data)
        answer = httpx.put(
            f"{self.url}/files",
            params={**EVENT, "name": name},
            content=data,
            headers={
                "Authorization": f"Bearer {TOKEN}",
                "Repr-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:",
            },
            trust_env=False,
        )
        assert answer.status_code == 201, answer.text
        record: dict[str, Any] = answer.json()
        return record


class Aether:
    """One `aether` command as a process, its output in a file."""

    def __init__(self, folder: Path, *words: str, env: dict[str, str] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / "aether.log"
        self.log.touch()
        self.process = Forked(list(words), {**environment(), **(env or {})}, folder, self.log, self.log)

    @property
    def text(self) -> str:
        """Everything it said, and what earlier commands in the same folder said."""
        return self.log.read_text()

    def says(self, words: str, seconds: float = 30.0) -> None:
        """Wait until it says something."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            ended = self.process.poll() is not None and words not in self.text
            assert not ended, f"ended without {words!r}:\n{self.text}"
            assert time.monotonic() < deadline, f"{words!r} not in:\n{self.text}"
            time.sleep(0.01)

    def ends(self, seconds: float = 30.0) -> int:
        """Wait for its end; return the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs:\n{self.text}") from None
        assert "Traceback" not in self.text, self.text
        return code

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def stop(self) -> None:
        """End it, however it stands."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by relative path, without sync's own."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(".aether/"):
            found[name] = path.read_bytes()
    return found
