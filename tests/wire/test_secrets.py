"""Secret fields on a whole hub: never shown, encrypted on the disk, sealed anew across a kill, read by actions only."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.vault import new_key
from tests import forked
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client
from tests.wire.tenant import Tenant, make_tenant, operator

PACKS = "packs.events,tests.wire.safes"
CANARY = "canary-7f3a9"
LOGIN = {"user": f"{CANARY}-user", "token": f"{CANARY}-token"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub with safes."""
    started = HubProcess(tmp_path_factory.mktemp("safes") / "data", packs=PACKS, audit_days="1")
    started.secrets |= {CANARY}
    yield started
    started.stop()


@pytest.fixture
async def safes(hub: HubProcess) -> Tenant:
    """An account of it."""
    return await make_tenant(hub)


def kept(folder: Path) -> bytes:
    """Return every byte of the database, the log that is not yet in it too."""
    return b"".join(file.read_bytes() for file in sorted(folder.glob("hub.db*")) if file.is_file())


async def safe(client: Client, name: str = "a", **data: Any) -> str:
    """Create one; return its id."""
    return str((await client.create("safe", name=name, password=f"{CANARY}-pw", login=LOGIN, **data))["id"])


async def test_no_answer_push_or_file_shows_a_secret(safes: Tenant, codec: str) -> None:
    async with safes.client("owner", codec) as client, safes.client("owner", codec) as watcher:
        await watcher.ok("watch.start", type="safe")
        await watcher.ok("feed.start", name=f"f{codec}")
        rec = await safe(client)
        said: list[Any] = [await client.ok("record.update", type="safe", rec=rec, data={"password": f"{CANARY}-2"})]
        said.append(await client.ok("record.get", type="safe", rec=rec))
        said.append(await client.ok("record.find", type="safe", deleted=True))
        said.append(await client.ok("record.history", type="safe", rec=rec))
        upsert = {"name": "a", "password": f"{CANARY}-3"}
        said.append(await client.ok("record.upsert", type="safe", data=upsert, match=["name"]))
        batch = [{"op": "record.update", "type": "safe", "rec": rec, "data": {"login": LOGIN}}]
        said.append(await client.ok("record.batch", ops=batch, key=f"k{codec}"))
        said.append(await client.ok("record.batch", ops=batch, key=f"k{codec}"))
        said.append(await client.ok("record.revert", type="safe", rec=rec, version=1))
        said.append(await watcher.settled())
        assert CANARY not in json.dumps(said, default=str)
        wrong: dict[str, dict[str, Any]] = {
            "record.find": {"where": {"password": f"{CANARY}-3"}},
            "record.aggregate": {"values": {"n": {"$count": "password"}}},
            "watch.start": {"where": {"login": {"$null": False}}},
            "record.update_where": {"where": {"password": {"$null": True}}, "data": {}, "limit": 1},
        }
        for op, asked in wrong.items():
            code, path = await client.refused(op, type="safe", **asked)
            assert code in {"where.invalid", "data.invalid"}, (op, code, path)
        assert (await client.refused("record.find", type="safe", order=["password"]))[0] == "order.invalid"
        code, path = await client.refused("record.find", type="safe", fields=["password"])
        assert code == "data.invalid", path
        code, path = await client.refused("record.update", type="safe", rec=rec, data={"password": [CANARY]})
        assert (code, path) == ("data.invalid", "data.password")
    assert CANARY.encode() not in kept(safes.process.data)
    assert b"safe" in kept(safes.process.data)
    assert (safes.process.data / "secret.keys").stat().st_mode & 0o777 == 0o600


async def test_an_action_reads_a_secret_and_an_audit_entry_says_so(safes: Tenant) -> None:
    async with safes.client("editor") as client, safes.client("owner") as owner:
        rec = await safe(client)
        target = {"type": "safe", "rec": rec}
        watch = (await owner.ok("watch.start", type="audit_entry", where={"what": "secret.read"}))["watch"]
        for _ in range(3):
            done = await client.ok("action.call", action="safe.open", target=target)
            assert done == {"length": len(CANARY) + 3, "keys": ["token", "user"]}
        told = await owner.push("change", lambda push: push["watch"] == watch)
        entries = {event["record"]["subject"]: event["record"] for event in told["events"]}
        assert {subject: entry["count"] for subject, entry in entries.items()} == {
            f"safe.password {rec}": 3,
            f"safe.login {rec}": 3,
        }
        assert {entry["actor"] for entry in entries.values()} != {""}
        assert (await client.refused("record.find", type="audit_entry"))[0] == "access.denied"
        other = await make_tenant(safes.process)
        async with other.client("editor") as stranger:
            assert (await stranger.refused("action.call", action="safe.open", target=target))[0] == "record.not_found"


async def test_keys_are_changed_across_a_kill_and_a_hub_without_them_does_not_start(tmp_path: Path) -> None:
    data, many = tmp_path / "data", 1500
    hub = HubProcess(data, packs=PACKS)
    tenant = await make_tenant(hub)
    async with tenant.client("editor") as client:
        ops = [
            {"op": "record.create", "type": "safe", "data": {"name": f"{n}", "password": CANARY}} for n in range(many)
        ]
        for start in range(0, many, 500):
            await client.ok("record.batch", ops=ops[start : start + 500])
        found = await client.ok("record.find", type="safe", order=["created_at"], limit=1000)
        first, last = found["records"][0]["id"], found["records"][-1]["id"]
    old = (data / "secret.keys").read_text().split()
    async with operator(hub) as client:
        await client.send("action.call", action="secrets.rotate", args={}, timeout=60)
        await client.push("progress")
        hub.signal(signal.SIGKILL)
    hub.wait()
    keys = (data / "secret.keys").read_text().split()
    assert (len(keys), keys[1:]) == (2, old), "killed on the way"
    again = HubProcess(data, packs=PACKS)
    async with tenant_of(again, tenant).client("editor") as client:
        for rec in (first, last):
            done = await client.ok("action.call", action="safe.open", target={"type": "safe", "rec": rec})
            assert done["length"] == len(CANARY)
    again.stop()
    (data / "secret.keys").write_text(keys[0] + "\n")
    refused = await asyncio.to_thread(forked.aether, "serve", "--port", "0", "--data", str(data), AETHER_PACKS=PACKS)
    assert refused.returncode == 1
    assert "sealed with a key that this hub does not have" in refused.stderr
    (data / "secret.keys").write_text("\n".join(keys))
    done = await asyncio.to_thread(forked.aether, "secrets", "rotate", "--data", str(data), AETHER_PACKS=PACKS)
    assert done.returncode == 0, done.stderr
    counts = {line.split("\t")[0]: int(line.split("\t")[1]) for line in done.stdout.splitlines()}
    assert counts["unreadable"] == 0
    assert counts["sealed anew"] + counts["were already"] == 2 * many
    assert 0 < counts["were already"] < 2 * many
    assert (data / "secret.keys").read_text().split() == keys[:1]
    given = [new_key(), *keys[:1]]
    (data / "secret.keys").unlink()
    last_hub = HubProcess(data, packs=PACKS, secret_keys=",".join(given))
    last_hub.secrets |= {*given, CANARY}
    async with operator(last_hub) as client:
        moved = await client.ok("action.call", action="secrets.rotate", args={}, timeout=60)
        assert (moved["sealed"], moved["made"], moved["forgotten"]) == (2 * many, False, False)
    last_hub.stop()
    assert CANARY.encode() not in kept(data)


def tenant_of(hub: HubProcess, tenant: Tenant) -> Tenant:
    """Return the same account of a hub that was started again."""
    return Tenant(hub, tenant.name, tenant.account, tenant.keys)
