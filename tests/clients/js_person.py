"""Somebody with the JavaScript client in a process of Node, led by a test."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright._impl._driver import compute_driver_executable

from tests.clients.reference_harness import wait_for

SCRIPT = Path(__file__).resolve().parent / "js" / "person.js"


class JsPerson:
    """Runs `js/person.js`. `told` is what it was told so far."""

    def __init__(self, port: int, token: str) -> None:
        node, _ = compute_driver_executable()
        command = [node, str(SCRIPT), f"ws://127.0.0.1:{port}/ws", token]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told: list[dict[str, Any]] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                return  # it was ended in the middle of a line
            message = json.loads(line)
            if "told" in message:
                self.told.append(message)
            else:
                self._answers[message["id"]] = message

    def begin(self, run: str) -> int:
        """Let it run the body of an async function; return the number of that."""
        assert self.process.stdin is not None
        self._asked += 1
        self.process.stdin.write(json.dumps({"id": self._asked, "run": run}) + "\n")
        self.process.stdin.flush()
        return self._asked

    def answer(self, number: int) -> dict[str, Any]:
        """Wait for what came of it: `data`, or `error` and `details`."""
        wait_for(lambda: number in self._answers, f"the client has done number {number}")
        return self._answers[number]

    def run(self, run: str) -> Any:
        """Run something to its end; return its data."""
        answer = self.answer(self.begin(run))
        assert "error" not in answer, answer
        return answer["data"]

    def hears(self, what: str, fact: Callable[[dict[str, Any]], bool] = lambda told: True) -> dict[str, Any]:
        """Wait until it was told something, now or before; return it."""
        return wait_for(lambda: [told for told in self.all(what) if fact(told)], f"it hears {what}")[0]

    def all(self, what: str) -> list[dict[str, Any]]:
        """Return what it was told of one kind."""
        return [told for told in list(self.told) if told["told"] == what]

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(10)
            assert self.process.stdout is not None
            self.process.stdout.close()
