"""`aether backup` beside a hub that serves, and `aether restore` into another folder: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from tests import forked
from tests.proofs.ledger import Entry, Ledger, audit
from tests.proofs.writers import Writer
from tests.storage.mariadb_server import FAST, MariadbServer, running
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Message, connected
from tests.wire.tenant import Tenant, make_tenant, operator


async def aether(*words: str, database_url: str = "") -> tuple[int, str, str]:
    """Run a command; return its exit code and what it printed."""
    environment = {"AETHER_DATABASE_URL": database_url} if database_url else {}
    done = await asyncio.to_thread(forked.aether, *words, **environment)
    return done.returncode, done.stdout, done.stderr


async def uploaded(hub: HubProcess, tenant: Tenant, event: str, name: str, data: bytes) -> str:
    """Upload a file; return its hash."""
    async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
        answer = await http.put(
            "/files", params={"type": "event", "rec": event, "name": name}, content=data,
            headers={"Authorization": f"Bearer {tenant.keys['editor']}"},
        )  # fmt: skip
    assert answer.status_code in {200, 201}, answer.text
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def mariadb() -> Iterator[MariadbServer]:
    """A server for this test."""
    with running(*FAST) as server:
        yield server


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


async def test_a_drill(tmp_path: Path) -> None:
    """Writes and uploads go on while a backup is made; then the hub is killed and another made of the backup."""
    hub = HubProcess(tmp_path / "data")
    tenant = await make_tenant(hub)
    ledger = Ledger(tenant.account)
    writers = [Writer(f"w{n}", Random(n), ledger, tenant.keys["editor"]) for n in range(2)]
    async with tenant.client("editor") as client:
        event = (await client.create("event", title="files", acronym="files"))["id"]
    ledger.entries.append(Entry({"data": {"title": "files"}}))
    rng = Random(3)
    contents = [rng.randbytes(rng.randrange(200_000)) for _ in range(20)]
    hashes = [await uploaded(hub, tenant, event, f"file {n}", data) for n, data in enumerate(contents)]
    writing = [asyncio.create_task(writer.run(hub.socket_url)) for writer in writers]
    while len(ledger.acknowledged) < 2000:
        await asyncio.sleep(0.05)
    before = set(ledger.acknowledged)
    for name in ("a.tar", "b"):
        code, out, err = await aether("backup", str(tmp_path / name), "--data", str(hub.data))
        assert (code, out) == (0, f"{tmp_path / name}\n"), err
    assert len(ledger.acknowledged) > len(before) + 100  # it was served meanwhile
    hub.signal(signal.SIGKILL)
    hub.wait()
    await asyncio.gather(*writing)
    promised = [Entry(e.request, e.answer if e in before else None) for e in ledger.entries]
    # What is not a way to make a backup, and shows that the audit sees what is missing.
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "hub.db").write_bytes((hub.data / "hub.db").read_bytes())
    assert audit(tmp_path / "raw" / "hub.db", ledger) != []
    for name in ("a.tar", "b"):
        target = tmp_path / f"restored {name}"
        code, out, err = await aether("restore", str(tmp_path / name), "--data", str(target))
        assert (code, out) == (0, f"{target}\n"), err
        assert audit(target / "hub.db", Ledger(tenant.account, promised)) == []
        again = HubProcess(target)
        async with httpx.AsyncClient(base_url=again.url, trust_env=False) as http:
            for sha256, data in zip(hashes, contents, strict=True):
                got = await http.get(
                    f"/files/sha256/{sha256}", headers={"Authorization": f"Bearer {tenant.keys['viewer']}"}
                )
                assert got.content == data
        async with connected(again.socket_url) as client:
            await client.greet(tenant.keys["editor"])
            await client.create("event", title="afterwards", acronym="afterwards")
        again.stop()


async def watched(hub: HubProcess, **since: Any) -> dict[str, Any]:
    """Return the answer of a watch over all events."""
    async with operator(hub, "main") as client:
        answer: dict[str, Any] = await client.ok("watch.start", type="event", **since)
        return answer


async def test_no_client_trusts_what_it_has_seen_of_before(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    async with operator(hub, "main") as client:
        for n in range(3):
            await client.create("event", title=f"{n}", acronym=f"{n}")
        cursor = (await client.ok("record.find", type="event", limit=1))["next"]
        epoch = (await client.greet(account="main"))["epoch"]
        seen = await watched(hub)
        assert (await aether("backup", str(tmp_path / "b.tar"), "--data", str(hub.data)))[0] == 0
        await client.create("event", title="lost by the restore", acronym="lost")
        resume = client.hello["resume"]
        later = await watched(hub)
    same = await watched(hub, since={"mark": seen["mark"], "seq": seen["seq"]})
    assert (same["resumed"], len(same["events"])) == (True, 1)
    hub.stop()
    code, _, err = await aether("restore", str(tmp_path / "b.tar"), "--data", str(tmp_path / "new"))
    assert code == 0, err
    hub = HubProcess(tmp_path / "new")
    for at in (seen, later):
        again = await watched(hub, since={"mark": at["mark"], "seq": at["seq"]})
        assert (again["resumed"], again["why"], len(again["records"])) == (False, "epoch", 3)
    async with operator(hub, "main") as client:
        assert client.hello["epoch"] != epoch
        assert await client.refused("record.find", type="event", limit=1, after=cursor) == ("cursor.invalid", "after")
        assert (await client.greet(account="main", resume=resume))["session"] != seen
        accounts = {h["epoch"] for h in [client.hello, await client.greet(account="system")]}
        assert len(accounts) == 2
    hub.stop()


async def test_a_backup_needs_no_running_hub_and_names_files_whose_bytes_are_gone(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    tenant = await make_tenant(hub)
    async with tenant.client("editor") as client:
        event = (await client.create("event", title="t", acronym="t"))["id"]
    gone = await uploaded(hub, tenant, event, "gone", b"about to vanish")
    kept = await uploaded(hub, tenant, event, "kept", b"kept")
    hub.stop()
    (hub.data / "blobs" / gone[:2] / gone[2:4] / gone).unlink()
    code, out, err = await aether("backup", str(tmp_path / "b"), "--data", str(hub.data))
    assert (code, out) == (1, f"{tmp_path / 'b'}\n")
    assert gone in err.splitlines()[-1]
    assert not (hub.data / "hub.sock").exists()
    code, out, err = await aether("restore", str(tmp_path / "b"), "--data", str(tmp_path / "new"))
    assert (code, out) == (1, f"{tmp_path / 'new'}\n")
    assert gone in err.splitlines()[-1]
    assert {p.name for p in (tmp_path / "new" / "blobs").rglob("*") if p.is_file()} == {kept}


async def test_bytes_without_a_record_are_collected_beside_a_running_hub(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    tenant = await make_tenant(hub)
    async with tenant.client("owner") as client:
        event = (await client.create("event", title="t"))["id"]
        gone, kept = [await uploaded(hub, tenant, event, name, name.encode()) for name in ("gone", "kept")]
        (file,) = (await client.ok("record.find", type="event_file", where={"sha256": gone}))["records"]
        await client.ok("record.delete", type="event_file", rec=file["id"], mode="hard")
    words = ["gc", "--data", str(hub.data), "--grace-hours"]
    assert await aether(*words, "1") == (0, "0 files removed (0 bytes)\n1 without a record, 1 with one\n", "")
    note = hub.data / "blobs" / gone[:2] / gone[2:4] / f"{gone}.unnamed"
    os.utime(note, (note.stat().st_mtime - 7200,) * 2)
    assert await aether(*words, "3") == (0, "0 files removed (0 bytes)\n1 without a record, 1 with one\n", "")
    assert await aether(*words, "1") == (0, "1 file removed (4 bytes)\n0 without a record, 1 with one\n", "")
    assert {p.name for p in (hub.data / "blobs").rglob("*") if p.is_file()} == {kept}
    hub.stop()


async def test_a_damaged_backup_changes_nothing(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    hub.stop()
    code, _, err = await aether("backup", str(tmp_path / "b.tar"), "--data", str(hub.data))
    assert code == 0, err
    good, rng = (tmp_path / "b.tar").read_bytes(), Random(5)
    target = tmp_path / "new"
    for offset in (130, rng.randrange(2000, len(good) - 1024)):
        bad = bytearray(good)
        bad[offset] ^= 1 << rng.randrange(8)
        (tmp_path / "bad.tar").write_bytes(bad)
        for words in (["--check"], ["--data", str(target)]):
            code, out, err = await aether("restore", str(tmp_path / "bad.tar"), *words)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "(file.mismatch at " in err or "(data.invalid at manifest.json)" in err
        assert not target.exists()
    code, out, _ = await aether("restore", str(tmp_path / "b.tar"), "--check")
    assert (code, out.startswith(f"{tmp_path / 'b.tar'} is whole: 0 files, ")) == (0, True)
    assert not target.exists()


async def test_only_what_is_empty_is_filled(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    code, _, err = await aether("backup", str(tmp_path / "b"), "--data", str(hub.data))
    assert code == 0, err
    code, _, err = await aether("backup", str(tmp_path / "b"), "--data", str(hub.data))
    assert (code, "is there already" in err) == (1, True)
    code, _, err = await aether("restore", str(tmp_path / "b"), "--data", str(hub.data))
    assert (code, "is not empty" in err) == (1, True)
    hub.stop()
    before = files_of(hub.data)
    code, _, err = await aether("restore", str(tmp_path / "b"), "--data", str(hub.data))
    assert (code, "is not empty" in err, files_of(hub.data)) == (1, True, before)
    code, _, err = await aether("backup", str(tmp_path / "c"), "--data", str(tmp_path / "nowhere"))
    assert (code, "There is no hub in the data folder" in err) == (1, True)
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / "c").exists()
    assert not (tmp_path / "c.part").exists()


async def test_a_restore_that_was_broken_off_starts_no_hub_and_is_done_again(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")
    hub.stop()
    assert (await aether("backup", str(tmp_path / "b"), "--data", str(hub.data)))[0] == 0
    target = tmp_path / "new"
    (target / "restore.part" / "database").mkdir(parents=True)
    (target / "restore.part" / "database" / "hub.db").write_bytes(b"half")
    (target / "blobs").mkdir()
    for words in (["serve", "--port", "0"], ["key", "create"]):
        code, _, err = await aether(*words, "--data", str(target))
        assert (code, "restore" in err) == (1, True), err
    code, _, err = await aether("restore", str(tmp_path / "b"), "--data", str(target))
    assert code == 0, err
    assert sorted(p.name for p in target.iterdir()) == ["blobs", "hub.db", "hub.lock"]
    code, out, err = await aether("user", "list", "--data", str(target))
    assert (code, "Owner" in out) == (0, True), err


@pytest.mark.parametrize("place", ["relative", "missing", "full"])
async def test_a_hub_writes_its_database_only_into_an_empty_folder(tmp_path: Path, place: str) -> None:
    hub = HubProcess(tmp_path / "data")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    names = {"relative": "full", "missing": str(tmp_path / "missing"), "full": str(tmp_path / "full")}
    async with operator(hub, "main") as client:
        refused = await client.refused("action.call", action="database.dump", args={"folder": names[place]})
        assert refused[1] == "args.folder"
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["file"]
    hub.stop()


async def test_a_hub_over_mariadb_is_backed_up_and_restored_too(tmp_path: Path, mariadb: MariadbServer) -> None:
    source, target = (mariadb.url(mariadb.new_database()) for _ in range(2))
    hub = HubProcess(tmp_path / "data", database_url=source, durability="normal")
    hub.secrets.add(":secret@")
    tenant = await make_tenant(hub)
    acknowledged: dict[str, Message] = {}
    stop = asyncio.Event()

    async def write() -> None:
        async with tenant.client("editor") as client:
            while not stop.is_set():
                made = await client.create("event", title=f"{len(acknowledged)}")
                acknowledged[made["id"]] = made

    writing = asyncio.create_task(write())
    async with tenant.client("editor") as client:
        event = (await client.create("event", title="files"))["id"]
    sha256 = await uploaded(hub, tenant, event, "file", b"content")
    while len(acknowledged) < 200:
        await asyncio.sleep(0.02)
    before = dict(acknowledged)
    code, _, err = await aether("backup", str(tmp_path / "b.tar"), "--data", str(hub.data), database_url=source)
    assert code == 0, err
    assert len(acknowledged) > len(before)
    stop.set()
    await writing
    hub.stop()
    data = ["--data", str(tmp_path / "new")]
    code, _, err = await aether("restore", str(tmp_path / "b.tar"), *data)
    assert (code, "is of a hub on mariadb" in err) == (1, True)
    code, _, err = await aether("restore", str(tmp_path / "b.tar"), *data, database_url=source)
    assert (code, "The database is not empty" in err) == (1, True)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["hub.lock"]
    code, _, err = await aether("restore", str(tmp_path / "b.tar"), *data, database_url=target)
    assert code == 0, err
    again = HubProcess(tmp_path / "new", database_url=target, durability="normal")
    again.secrets.add(":secret@")
    async with connected(again.socket_url) as client:
        await client.greet(tenant.keys["editor"])
        found: dict[str, Message] = {}
        page: Message = {}
        while True:
            answer = await client.ok("record.find", type="event", limit=1000, **page)
            found |= {record["id"]: record for record in answer["records"]}
            if "next" not in answer:
                break
            page = {"after": answer["next"]}
        assert {rec: found[rec] for rec in before} == before
        await client.create("event", title="afterwards")
        hits = await client.ok("record.search", q="files", types=["event"])
        assert event in str(hits), "what is found by words is made anew"
    async with httpx.AsyncClient(base_url=again.url, trust_env=False) as http:
        headers = {"Authorization": f"Bearer {tenant.keys['viewer']}"}
        assert (await http.get(f"/files/sha256/{sha256}", headers=headers)).content == b"content"
    again.stop()
