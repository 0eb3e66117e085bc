"""A disk that is really full, seen over the wire: writes and uploads are refused with a code of their own and leave
nothing behind, reads go on, and with room again so do writes."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any, Final

import httpx

from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client, Message, connected

DISK: Final = 'mount -t tmpfs -o size=40m tmpfs "$0" && head -c 25165824 /dev/zero >"$0/ballast" && exec "$@"'
"""A disk that only the hub sees, with a file on it whose room it gets back: more than the write-ahead log holds by
then, for that is first brought into the database."""
LARGE: Final = "x" * 19_000
UPLOAD: Final = os.urandom(4 * 1024 * 1024)


def inside_of(process: HubProcess, path: Path) -> Path:
    """Return how a path that only the hub sees is reached from here."""
    return Path(f"/proc/{process.pid}/root{path}")


async def sign_in(process: HubProcess, http: httpx.AsyncClient) -> str:
    """Exchange the sign-in link of the first start for a token: hub.sock is on the hub's own disk."""
    found = re.search(r"#signin=(\S+)", process.greeting)
    assert found is not None
    token: str = (await http.post("/auth/signin", json={"code": found[1]})).json()["token"]
    process.secrets.add(token)
    return token


def talk(event: str, n: int) -> Message:
    """Return the fields of a request that creates a large session."""
    data = {"title": "T", "guid": str(n), "abstract": LARGE}
    return {"type": "event_session", "parent": {"type": "event", "rec": event}, "data": data}


async def fill(client: Client, event: str) -> list[Message]:
    """Write until something is refused; return every answer."""
    answers: list[Message] = []
    while not answers or all(answer["op"] == "ok" for answer in answers):
        sent = [await client.send("record.create", **talk(event, n)) for n in range(len(answers), len(answers) + 16)]
        answers += [await client.answer(number) for number in sent]
    return answers


async def health(http: httpx.AsyncClient, status: str) -> dict[str, str]:
    """Wait until /health has a status; return that of each check of storage. What is not well says why."""
    async with asyncio.timeout(20):
        while (body := (await http.get("/health")).json())["status"] != status:
            await asyncio.sleep(0.05)
    checks = {name: check[0] for name, check in body["checks"].items() if name.startswith("storage")}
    assert [check["output"] for check in checks.values() if check["status"] == "warn"] == (
        ["HubError: storage.full: The disk of the server is full; reading goes on, writing waits for room."]
        if status == "warn"
        else []
    )
    return {name: check["status"] for name, check in checks.items()}


async def test_a_full_disk_refuses_writes_and_uploads_serves_reads_and_heals(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-m", "-r"]
    before = (*unshare, "sh", "-c", DISK, str(disk))
    process = await asyncio.to_thread(HubProcess, disk / "data", before=before, reserve_bytes="0")
    try:
        async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
            token = await sign_in(process, http)
            http.headers["authorization"] = f"Bearer {token}"
            async with connected(process.socket_url, "msgpack") as client:
                await client.greet(token)
                await meet_a_full_disk(process, http, client, inside_of(process, disk))
    finally:
        await asyncio.to_thread(process.stop)


async def meet_a_full_disk(process: HubProcess, http: httpx.AsyncClient, client: Client, disk: Path) -> None:
    """Fill the disk, look around, make room, look around again."""
    event = (await client.create("event", title="A", acronym="a"))["id"]
    watch = (await client.ok("watch.start", type="event_session", fields=["guid"]))["watch"]
    answers = await fill(client, event)
    written = [a["data"]["guid"] for a in answers if a["op"] == "ok"]
    refused = [a for a in answers if a["op"] == "error"]
    assert len(written) > 50
    assert {(a["code"], a["retry_after"] > 0, a["message"][-1]) for a in refused} == {("storage.full", True, ".")}
    update = {"type": "event", "rec": event, "data": {"title": LARGE[:200]}}

    async def found() -> list[str]:
        guids: list[str] = []
        page: Any = {"next": None}
        while "next" in page:
            after = {"after": page["next"]} if page["next"] else {}
            page = await client.ok("record.find", type="event_session", fields=["guid"], limit=1000, **after)
            guids += [record["guid"] for record in page["records"]]
        return guids

    async def put(name: str) -> httpx.Response:
        return await http.put("/files", params={"type": "event", "rec": event, "name": name}, content=UPLOAD)

    assert sorted(await found()) == sorted(written), "what was acknowledged is there, and nothing else"
    events = await client.changes(watch)
    assert [e["record"]["guid"] for e in events] == written
    blobs = disk / "data" / "blobs"
    put_while_full = await put("no-room")
    assert (put_while_full.status_code, put_while_full.json()["code"]) == (507, "storage.full")
    assert int(put_while_full.headers["retry-after"]) > 0
    assert [path for path in blobs.rglob("*") if path.is_file()] == []
    assert (await http.get("/livez")).status_code == 200
    assert (await client.ok("record.get", type="event", rec=event))["version"] == 1

    assert await health(http, "warn") == {"storage": "pass", "storage:writing": "warn"}
    assert (await http.get("/readyz")).status_code == 200, "who reads is still sent here"

    (disk / "ballast").unlink()
    seq = (await client.ok("session.beat"))["seq"]
    assert (await client.seq("record.update", **update))[1] == seq + 1, "a refused write takes no number"
    again = int(refused[0]["id"])
    assert (await client.ok("record.create", **talk(event, 10_000 + again)))["version"] == 1
    stored = await put("room")
    assert stored.status_code == 201
    assert (await http.get(f"/files/sha256/{stored.json()['sha256']}")).content == UPLOAD
    (file,) = (await client.ok("record.find", type="event_file"))["records"]
    assert file["name"] == "room"
    assert sorted(await found()) == sorted([*written, str(10_000 + again)])
    assert await health(http, "pass") == {"storage": "pass", "storage:writing": "pass"}
