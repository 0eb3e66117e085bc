"""Bytes that no record names are removed after their time, and never those that somebody is about to name."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from pathlib import Path
from random import Random

import pytest

from hub.schema.registry import Registry
from hub.schema.writes import Commit, Create, Delete, Restore
from storage.blobs.base import BlobMissing
from storage.blobs.disk import DiskBlobs
from storage.collection import collect
from storage.memory import MemoryStorage

REGISTRY = Registry.of(["hub.schema.core", "packs.events"])
EVENT, FILE = REGISTRY.types["event"], REGISTRY.types["event_file"]
HOUR = 3600.0


class Store:
    """A keeper, a blob store, and an event that holds files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.storage = MemoryStorage(REGISTRY, lambda: "2026-11-21T09:00:00.000Z")
        self.blobs = DiskBlobs(root)
        self.count = 0

    async def start(self) -> None:
        """Begin, with one event."""
        await self.storage.start()
        await self.blobs.start()
        await self.commit(Create(EVENT, "event000001", EVENT.accept_create({"title": "a"})))

    async def commit(self, *writes: Create | Delete | Restore) -> None:
        """Commit writes."""
        await self.storage.submit(Commit("main", writes))

    async def upload(self, data: bytes) -> str:
        """Store bytes, without a record."""
        async with self.blobs.receive(None, 1 << 20) as upload:
            await upload.write(data)
            return (await upload.commit()).sha256

    async def link(self, sha256: str) -> str:
        """Make a record of a file; return its id."""
        self.count += 1
        rec = f"file{self.count:07}"
        data = {"name": rec, "sha256": sha256, "size": 1, "content_type": "a/b"}
        await self.commit(Create(FILE, rec, FILE.accept_create(data, trusted=True), "event000001"))
        return rec

    async def collect(self, seconds: float = HOUR) -> tuple[int, int, int]:
        """Collect; return how many are named, unnamed and removed."""
        found = await collect(self.storage, self.blobs, [FILE], seconds)
        return found.named, found.unnamed, found.removed

    def age(self, seconds: float) -> None:
        """Make every note older."""
        for note in self.root.rglob("*.unnamed"):
            os.utime(note, (time.time() - seconds,) * 2)

    def files(self) -> set[str]:
        """The names of all files in the folder."""
        return {path.name for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    """Return a store that runs."""
    store = Store(tmp_path / "blobs")
    await store.start()
    return store


async def test_what_no_record_names_goes_when_the_grace_is_over_and_not_before(store: Store) -> None:
    kept, gone = await store.upload(b"kept"), await store.upload(b"gone")
    await store.link(kept)
    assert await store.collect() == (1, 1, 0)
    assert await store.collect() == (1, 1, 0), "noted just now"
    store.age(HOUR - 60)
    assert await store.collect() == (1, 1, 0)
    store.age(HOUR + 60)
    assert await store.collect() == (1, 0, 1)
    assert store.files() == {kept}
    assert await store.blobs.stat(gone) is None
    assert await store.collect() == (1, 0, 0)


async def test_a_tombstone_names_its_bytes_and_what_is_named_again_is_kept(store: Store) -> None:
    sha256 = await store.upload(b"a")
    rec = await store.link(sha256)
    await store.commit(Delete(FILE, rec))
    assert await store.collect() == (1, 0, 0)
    await store.commit(Delete(FILE, rec, hard=True))
    assert await store.collect() == (0, 1, 0)
    store.age(HOUR + 60)
    again = await store.link(sha256)
    assert await store.collect() == (1, 0, 0)
    assert store.files() == {sha256}, "and the note is gone"
    await store.commit(Delete(FILE, again, hard=True))
    assert await store.collect() == (0, 1, 0), "so its time begins anew"


async def test_an_upload_begins_the_time_anew(store: Store) -> None:
    sha256 = await store.upload(b"a")
    assert await store.collect() == (0, 1, 0)
    store.age(HOUR + 60)
    assert await store.upload(b"a") == sha256
    assert await store.collect() == (0, 1, 0), "whoever uploaded it is about to name it"
    await store.link(sha256)
    assert await store.collect() == (1, 0, 0)


async def test_collecting_beside_uploads_takes_nothing_that_becomes_named(store: Store) -> None:
    rng = Random(3)
    contents = [f"content {n}".encode() for n in range(12)]
    linked: set[str] = set()
    stop = False
    removed = 0

    async def upload() -> None:
        for _ in range(60):
            data = rng.choice(contents)
            sha256 = await store.upload(data)
            await asyncio.sleep(rng.choice([0, 0.001]))
            if rng.random() < 0.6:
                rec = await store.link(sha256)
                assert await store.blobs.verify(sha256), "what is linked is there"
                if rng.random() < 0.7:
                    await store.commit(Delete(FILE, rec, hard=True))
                else:
                    linked.add(sha256)

    async def collecting() -> None:
        nonlocal removed
        while not stop:
            store.age(HOUR + 60)
            removed += (await store.collect())[2]

    running = asyncio.create_task(collecting())
    await asyncio.gather(*(upload() for _ in range(4)))
    stop = True
    await running
    named = contents[0]
    await store.link(await store.upload(named))
    linked.add(hashlib.sha256(named).hexdigest())
    await store.upload(b"never named")
    for _ in range(2):  # once to note what has no name, once to take it
        store.age(HOUR + 60)
        removed += (await store.collect())[2]
    assert removed > 0
    for sha256 in linked:
        assert await store.blobs.verify(sha256)
    assert {hashlib.sha256(data).hexdigest() for data in contents} >= linked
    with pytest.raises(BlobMissing):
        await store.blobs.verify(hashlib.sha256(b"never named").hexdigest())
