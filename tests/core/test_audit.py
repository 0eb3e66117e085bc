"""What managers can look up later: who came in, what was refused, what changed; a flood of it floods nothing."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from handlers import audit as auditing
from handlers.audit import IN_ALL, PER_ACCOUNT, Audit
from handlers.base import Peer
from hub.access import Identity
from hub.schema.core.audits import AuditEntry
from hub.schema.core.credentials import ApiKey
from hub.schema.core.identity import Account, Membership, User
from hub.schema.query import Query
from hub.schema.record import Image, Record, type_of
from hub.schema.registry import Registry
from hub.schema.writes import Commit, Create, Update
from hub.wire.errors import HubError
from hub.wire.names import public_id
from storage.base import Storage
from storage.memory import MemoryStorage
from storage.sql.sqlite import SqliteStorage

NOW = "2026-11-22T07:00:00.000Z"
REGISTRY = Registry.of(["hub.schema.core"])


class Scene:
    """An account with Ada in it, and the audit of its hub."""

    def __init__(self, database: Path | None = None) -> None:
        self.numbers = itertools.count(1)
        self.now = NOW
        self.storage: Storage = (
            SqliteStorage(REGISTRY, database, lambda: self.now)
            if database is not None
            else MemoryStorage(REGISTRY, lambda: self.now)
        )
        self.audit = Audit(self.storage, self.id, on=True)
        self.storage.listen(self.audit.saw)
        self.user = self.account = ""

    def id(self) -> str:
        return public_id(next(self.numbers).to_bytes(8, "big"))

    async def make(self, account: str, declared: type[Record], **data: Any) -> str:
        kind, rec = type_of(declared), self.id()
        write = Create(kind, rec, kind.accept_create(data, trusted=True))
        await self.storage.submit(Commit(account, (write,), "actor"))
        return rec

    async def begin(self) -> Scene:
        await self.storage.start()
        self.account = await self.make("system", Account, name="main")
        self.user = await self.make("system", User, name="Ada", email="ada@x.test")
        await self.make(self.account, Membership, user_id=self.user, role="owner", name="Ada")
        await self.audit.flush(everything=True)
        return self

    async def entries(self, what: str) -> list[Image]:
        await self.audit.flush(everything=True)
        found = await self.storage.find(self.account, Query(type_of(AuditEntry)))
        return [image for image in found.records if image["what"] == what]


@pytest.fixture
async def scene() -> Scene:
    return await Scene().begin()


def peer(scene: Scene, address: str = "192.0.2.1") -> Peer:
    return Peer(identity=Identity("user", user=scene.user, name="Ada"), account=scene.account, address=address)


async def test_keys_and_roles_are_noted_with_what_changed_and_without_secrets(scene: Scene) -> None:
    rec = await scene.make(scene.account, ApiKey, name="ci", role="editor", digest="canary" * 10)
    kind = type_of(ApiKey)
    await scene.storage.submit(Commit(scene.account, (Update(kind, rec, {"role": "viewer"}),), "boss"))
    await scene.storage.submit(Commit(scene.account, (Update(kind, rec, {"last_used_at": NOW}),), "boss"))
    (made,) = await scene.entries("key.created")
    (changed,) = await scene.entries("key.changed")
    assert (made["subject"], made["details"]) == (f"api_key {rec}", {"name": "ci", "role": "editor"})
    wanted = {"name": "ci", "fields": ["role"], "role": ["editor", "viewer"]}
    assert (changed["actor"], changed["details"]) == ("boss", wanted)
    found = await scene.storage.find(scene.account, Query(type_of(AuditEntry)))
    assert "canary" not in repr(found)


async def test_each_of_several_changes_in_a_minute_is_an_entry(scene: Scene) -> None:
    rec = await scene.make(scene.account, ApiKey, name="ci", role="editor", digest="d" * 64)
    for role in ("viewer", "owner", "viewer"):
        await scene.storage.submit(Commit(scene.account, (Update(type_of(ApiKey), rec, {"role": role}),), "boss"))
    roles = [entry["details"]["role"] for entry in await scene.entries("key.changed")]
    assert sorted(roles) == [["editor", "viewer"], ["owner", "viewer"], ["viewer", "owner"]]
    assert len(scene.audit) == 0, "what is written is not held for a minute"


async def test_people_are_noted_in_their_accounts(scene: Scene) -> None:
    change = type_of(User).accept_change({"disabled": True}, trusted=True)
    await scene.storage.submit(Commit("system", (Update(type_of(User), scene.user, change),), "boss"))
    (made,), (changed,) = await scene.entries("user.created"), await scene.entries("user.changed")
    assert made["subject"] == changed["subject"] == f"user {scene.user}"
    assert changed["details"] == {"name": "Ada", "fields": ["disabled"]}


async def test_what_cannot_be_kept_is_tried_again_and_counted_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    submit, kept = scene.storage.submit, True

    async def failing(commit: Commit) -> Any:
        if not kept:
            raise HubError("server.unavailable")
        return await submit(commit)

    monkeypatch.setattr(scene.storage, "submit", failing)
    kept = False
    scene.audit.note("secret.read", scene.account, actor="a", subject="s")
    scene.audit.note("role.changed", scene.account, actor="a", subject="r", number=1)
    await scene.audit.flush()
    scene.audit.note("secret.read", scene.account, actor="a", subject="s")
    assert len(scene.audit) == 2
    assert "2 audit entries could not be kept, 0 for good" in caplog.text
    kept = True
    await scene.audit.flush()
    assert [entry["count"] for entry in await scene.entries("secret.read")] == [2]
    assert len(await scene.entries("role.changed")) == 1
    kept = False
    scene.audit.note("secret.read", scene.account, actor="a", subject="s")
    await scene.audit.flush(everything=True)
    assert len(scene.audit) == 0
    assert "1 audit entries could not be kept, 1 for good" in caplog.text


async def test_the_end_writes_what_waits(scene: Scene) -> None:
    scene.audit.refused(peer(scene), "record.get", HubError("access.denied"))
    await scene.audit.close()
    assert len(await scene.entries("access.denied")) == 1


async def test_refusals_of_one_caller_at_one_thing_are_one_entry(scene: Scene) -> None:
    denied = HubError("access.denied", details={"needs": "event.update"})
    for _ in range(500):
        scene.audit.refused(peer(scene), "record.update", denied)
        scene.audit.refused(peer(scene), "record.get", HubError("record.not_found"))
    (entry,) = await scene.entries("access.denied")
    assert (entry["count"], entry["subject"]) == (500, "record.update event.update")
    assert (entry["name"], entry["address"], entry["details"]) == ("Ada", "192.0.2.1", {"code": "access.denied"})


async def test_a_flood_of_refusals_writes_so_many_entries_and_no_more(scene: Scene) -> None:
    before = (await scene.storage.heads([scene.account]))[scene.account].seq
    for n in range(20_000):
        scene.audit.refused(peer(scene, f"198.51.{n // 250}.{n % 250}"), "record.get", HubError("access.denied"))
    assert len(scene.audit) == PER_ACCOUNT + 1
    assert (await scene.storage.heads([scene.account]))[scene.account].seq == before, "nothing is written on the way"
    entries = await scene.entries("access.denied")
    assert len(entries) == PER_ACCOUNT + 1
    assert sum(entry["count"] for entry in entries) == 20_000
    assert (await scene.storage.heads([scene.account]))[scene.account].seq == before + 1, "one commit"


async def test_what_is_held_is_bounded_over_all_accounts(scene: Scene) -> None:
    for n in range(IN_ALL + 500):
        scene.audit.note("key.created", f"account{n}", subject="x")
    assert len(scene.audit) == IN_ALL


async def test_what_repeats_raises_the_count_of_its_entry(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.audit.note("secret.read", scene.account, actor="a", subject="s")
    await scene.audit.flush()
    for _ in range(4):
        scene.audit.note("secret.read", scene.account, actor="a", subject="s")
    await scene.audit.flush()
    found = await scene.storage.find(scene.account, Query(type_of(AuditEntry)))
    assert [image["count"] for image in found.records if image["what"] == "secret.read"] == [1], (
        "until the minute is over"
    )
    monkeypatch.setattr(auditing, "MINUTE", 0.0)
    (entry,) = await scene.entries("secret.read")
    assert (entry["count"], entry["version"]) == (5, 2)


@pytest.mark.parametrize("keeper", ["memory", "sqlite"])
async def test_old_entries_go(tmp_path: Path, keeper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "PRUNED", 2)
    scene = await Scene(tmp_path / "hub.db" if keeper == "sqlite" else None).begin()
    for n in range(3):
        scene.audit.note("secret.read", scene.account, subject=f"{n}")
    await scene.entries("secret.read")
    scene.now = "2026-12-22T07:00:00.000Z"
    scene.audit.note("secret.read", scene.account, subject="new")
    await scene.entries("secret.read")
    assert await scene.audit.prune("2026-12-01T00:00:00.000Z") == 5
    assert [entry["subject"] for entry in await scene.entries("secret.read")] == ["new"]
    await scene.storage.close()


async def test_without_an_audit_nothing_is_held(scene: Scene) -> None:
    scene.audit.on = False
    scene.audit.refused(peer(scene), "record.get", HubError("access.denied"))
    scene.audit.note("key.created", scene.account)
    assert len(scene.audit) == 0
