"""A hub in a process of its own, with two accounts, keys of several roles, and what tests ask of it."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import httpx

REPOSITORY = Path(__file__).resolve().parents[3]
MEGABYTE = 1024 * 1024

_SERVE = """
import sys
import uvloop
from pathlib import Path
from hub import app, logs
from hub.settings import load

async def main():
    options = {"port": 0, "data": sys.argv[1], "max_file_bytes": int(sys.argv[2]), "drain_seconds": 0.5}
    settings = load({}, None, options)
    await app.serve(settings, on_ready=lambda parts, url, link: print(url, flush=True))

logs.configure("debug", "json")
uvloop.run(main())
"""


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def repr_digest(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


@cache
def random_bytes(seed: int, size: int) -> bytes:
    return Random(seed).randbytes(size)


@dataclass
class RunningHub:
    """A hub, and the keys to it by name: owner, editor, viewer (account main) and foreign (account other)."""

    url: str
    data: Path
    log: Path
    pid: int
    keys: dict[str, str]
    event: str  # an event of account main
    other_event: str  # an event of account other
    http: httpx.Client

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        return url.host, url.port or 0

    def authority(self, who: str | None) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[who]}"} if who else {}

    def get(
        self, path: str, who: str | None = "owner", method: str = "GET", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return self.http.request(method, self.url + path, headers={**self.authority(who), **(headers or {})})

    def put(
        self,
        name: str,
        data: Any,
        who: str | None = "owner",
        *,
        rec: str | None = None,
        kind: str = "event",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        address = put_address(name, rec or self.event, kind)
        return self.http.put(self.url + address, content=data, headers={**self.authority(who), **(headers or {})})

    def ask(self, op: str, who: str | None = "owner", **fields: Any) -> dict[str, Any]:
        """The answer of one operation, ok or error."""
        answer = self.http.post(self.url + "/rpc", json={"op": op, "id": 1, **fields}, headers=self.authority(who))
        found: dict[str, Any] = answer.json()
        return found

    def done(self, op: str, who: str | None = "owner", **fields: Any) -> Any:
        """The data of an operation that must succeed."""
        answer = self.ask(op, who, **fields)
        assert answer["op"] == "ok", answer
        return answer["data"]

    def new_event(self, acronym: str, who: str = "owner") -> str:
        made = self.done("record.create", who, type="event", data={"title": acronym, "acronym": acronym})
        return str(made["id"])

    def files(self, event: str | None = None, who: str = "owner") -> list[dict[str, Any]]:
        parent = {"type": "event", "rec": event or self.event}
        found: list[dict[str, Any]] = self.done("record.find", who, type="event_file", parent=parent, limit=1000)[
            "records"
        ]
        return found

    def blobs(self) -> set[str]:
        """The names of everything in the blob store, temporary files too."""
        root = self.data / "blobs"
        return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}

    def has_blob(self, data: bytes) -> bool:
        return any(name.endswith(digest_of(data)) for name in self.blobs())

    def operator(self) -> httpx.Client:
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.data / "hub.sock")), base_url="http://hub")


def put_address(name: str, rec: str, kind: str = "event") -> str:
    return f"/files?type={kind}&rec={quote(rec, safe='')}&name={quote(name, safe='')}"


def _issue(operator: httpx.Client, account: str, role: str) -> str:
    answer = operator.post(
        "/rpc",
        json={"op": "action.call", "id": 1, "action": "api_key.issue", "args": {"role": role}},
        headers={"x-aether-account": account},
    ).json()
    return str(answer["data"]["key"])


def _furnish(hub: RunningHub) -> None:
    """Make the second account, the keys and an event in each account."""
    with hub.operator() as operator:
        make = {"op": "action.call", "id": 1, "action": "account.create", "args": {"name": "other"}}
        operator.post("/rpc", json=make).raise_for_status()
        hub.keys = {role: _issue(operator, "main", role) for role in ("owner", "editor", "viewer")}
        hub.keys["foreign"] = _issue(operator, "other", "owner")
    hub.event = hub.new_event("main-event")
    hub.other_event = hub.new_event("other-event", "foreign")


@contextmanager
def running_hub(folder: Path, max_file_bytes: int = 1024 * MEGABYTE, *, fresh: bool = True) -> Iterator[RunningHub]:
    """Run a hub; afterwards its log must hold no traceback and no secret. A hub that is not fresh gets no keys."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    arguments = [sys.executable, "-c", _SERVE, str(folder / "data"), str(max_file_bytes)]
    with log.open("wb") as errors:
        process = subprocess.Popen(arguments, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        assert url, log.read_text()
        hub = RunningHub(url, folder / "data", log, process.pid, {}, "", "", httpx.Client(timeout=60))
        if fresh:
            _furnish(hub)
        yield hub
        hub.http.close()
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
    text = log.read_text()
    assert "Traceback" not in text, text
    assert "traceback" not in text, text
    for secret in (*hub.keys.values(), "grant="):
        assert secret not in text
