"""Full disks, killed processes and what they leave behind."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.wire.errors import HubError
from storage.blobs import tree as tree_module
from storage.blobs.base import BlobStore
from storage.blobs.disk import GATHER_BYTES, DiskBlobs
from storage.blobs.tree import Tree
from tests.storage_blobs.support import MEGABYTE, files, place, put, random_bytes, sha256

REPOSITORY = Path(__file__).resolve().parents[2]

LIMITED = """
import asyncio, resource, sys
from pathlib import Path
from hub.wire.errors import HubError
from storage.blobs.disk import DiskBlobs
from tests.storage_blobs.support import put

async def main():
    store = DiskBlobs(Path(sys.argv[1]), reserve_bytes=0)
    await store.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    try:
        await put(store, bytes(1_500_000))
    except HubError as refusal:
        print(refusal.code)
    print((await put(store, bytes(900_000))).size)
    await store.close()

asyncio.run(main())
"""

UPLOADER = """
import asyncio, random, sys
from pathlib import Path
from storage.blobs.disk import DiskBlobs
from tests.storage_blobs.support import put

async def main():
    store = DiskBlobs(Path(sys.argv[1]), reserve_bytes=0)
    await store.start()
    draw = random.Random(int(sys.argv[2]))
    async def lane():
        while True:
            stored = await put(store, draw.randbytes(draw.randrange(6_000_000)))
            print(stored.sha256, stored.size, flush=True)
    await asyncio.gather(lane(), lane(), lane())

asyncio.run(main())
"""


def _child(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE)


def test_a_file_size_limit_of_the_system_is_a_full_disk(tmp_path: Path) -> None:
    with _child(LIMITED, str(tmp_path / "blobs")) as child:
        output, _ = child.communicate(timeout=60)
    assert output.split() == [b"storage.full", b"900000"]
    assert files(tmp_path / "blobs") == {place(sha256(bytes(900_000)))}


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """A disk of 8 MB: a mount of our own where we may, else the reserve makes the real one look as small."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = _mount(disk)
    yield disk
    if mounted:
        _unmount(disk)


def _mount(disk: Path) -> bool:
    if os.geteuid() != 0:
        return False
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=False).returncode == 0


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def _unmount(disk: Path) -> None:
    subprocess.run(["umount", str(disk)], check=True)


async def test_a_full_disk_refuses_and_heals_and_keeps_no_partial_file(small_disk: Path) -> None:
    reserve = max(0, _free(small_disk) - 8 * MEGABYTE)
    blobs = DiskBlobs(small_disk / "blobs", reserve_bytes=reserve)
    await blobs.start()
    kept = await put(blobs, random_bytes(1, 5 * MEGABYTE))
    for size in (4 * MEGABYTE, 20 * MEGABYTE):
        with pytest.raises(HubError) as refusal:
            await put(blobs, random_bytes(2, size))
        assert refusal.value.code == "storage.full"
        assert refusal.value.retry_after
    there = {place(kept.sha256), place(kept.sha256) + ".pieces"}
    assert files(small_disk / "blobs") == there
    assert await blobs.verify(kept.sha256)
    assert (await put(blobs, random_bytes(3, MEGABYTE))).size == MEGABYTE
    await blobs.close()


async def test_the_reserve_stays_free(root: Path) -> None:
    blobs = DiskBlobs(root, reserve_bytes=2**62)
    await blobs.start()
    assert await blobs.free_bytes() == 0
    with pytest.raises(HubError, match=r"storage\.full"):
        async with blobs.receive(None, MEGABYTE, announced=1):
            pass
    with pytest.raises(HubError, match=r"storage\.full"):
        await put(blobs, b"x")
    assert files(root) == set()
    await blobs.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_process_leaves_whole_blobs_only_and_its_rest_is_swept(root: Path, seed: int) -> None:
    with _child(UPLOADER, str(root), str(seed)) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(1 + seed)]
        time.sleep(0.013 * seed)  # the moment is the input, nothing is waited for
        child.send_signal(signal.SIGKILL)
        told += child.stdout.readlines()
    partial = [name for name in files(root) if name.startswith("incoming/")]

    async def check() -> None:
        blobs = DiskBlobs(root, reserve_bytes=0)
        await blobs.start()
        assert [name for name in files(root) if name.startswith("incoming/")] == []
        visible = {name.rpartition("/")[2] for name in files(root) if not name.endswith(".pieces")}
        for digest in visible:
            assert await blobs.verify(digest)
        for line in told:
            digest, size = line.decode().split()
            assert await blobs.stat(digest) == int(size), "acknowledged, so it is there"
        await blobs.close()

    asyncio.run(check())
    assert len(partial) <= 3 + 3  # a lane writes one blob and at most one side file


async def test_what_a_close_cuts_off_still_cleans_up_after_itself(root: Path) -> None:
    blobs = DiskBlobs(root, reserve_bytes=0)
    await blobs.start()
    stored = await put(blobs, bytes(3 * GATHER_BYTES))
    async with await blobs.open(stored.sha256), blobs.receive(None, MEGABYTE) as upload:
        await upload.write(bytes(GATHER_BYTES))
        await blobs.close()
    assert files(root) == {place(stored.sha256)}


async def test_a_sweep_removes_what_nobody_writes_and_nothing_else(blobs: DiskBlobs, root: Path) -> None:
    (root / "incoming" / "left").write_bytes(b"half")
    other = DiskBlobs(root, reserve_bytes=0)  # another instance on the same disk
    async with blobs.receive(None, 10 * MEGABYTE) as upload:
        await upload.write(bytes(GATHER_BYTES))
        await upload.write(bytes(GATHER_BYTES))  # comes back when the first part is on disk
        await other.start()
        assert len(files(root)) == 1
        assert "incoming/left" not in files(root)
        stored = await upload.commit()
    assert await other.verify(stored.sha256)
    await other.close()


def test_a_sweep_is_bounded_and_the_next_one_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "SWEEP_ENTRIES", 10)
    tree = Tree(root, 0)
    tree.prepare()
    for n in range(25):
        (root / "incoming" / f"left{n}").write_bytes(b"half")
    assert [tree.sweep() for _ in range(4)] == [10, 10, 5, 0]


def test_a_sweep_between_creation_and_lock_does_not_take_the_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(root, 0)
    tree.prepare()
    flock, swept = fcntl.flock, list[bool]()

    def late(fd: int, how: int) -> None:
        if not swept:
            swept.append(True)
            swept.append(tree.sweep() == 1)
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    incoming = tree.begin()
    assert swept == [True, True]
    assert incoming.path.exists()
    tree.discard(incoming)


def test_the_bytes_are_synced_before_the_blob_is_visible(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(root, 0)
    tree.prepare()
    order: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def note_sync(fd: int) -> None:
        order.append(f"sync {Path(os.readlink(f'/proc/self/fd/{fd}')).relative_to(root.parent).parts[1:]}")
        fsync(fd)

    def note_rename(self: Path, target: Path) -> Path:
        order.append(f"rename {target.relative_to(root).parts}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    incoming = tree.begin()
    incoming.write(b"bytes")
    digest = sha256(b"bytes")
    tree.publish(incoming, digest, "pieces")
    shown = [line.replace(incoming.path.name, "T") for line in order]
    folder = f"('{digest[:2]}', '{digest[2:4]}')"
    assert shown[:3] == [f"sync ('{digest[:2]}',)", "sync ()", "sync ('incoming', 'T')"]
    assert shown[3].startswith("sync ('incoming', ")
    assert shown[4:] == [
        f"rename ('{digest[:2]}', '{digest[2:4]}', '{digest}.pieces')",
        f"rename ('{digest[:2]}', '{digest[2:4]}', '{digest}')",
        f"sync {folder}",
    ]


def test_stores_keep_their_files_to_themselves(root: Path) -> None:
    tree = Tree(root, 0)
    tree.prepare()
    tree.publish(tree.begin(), sha256(b""), None)
    assert {oct(path.stat().st_mode & 0o077) for path in root.rglob("*")} == {"0o0"}


async def test_a_store_sees_what_another_process_stored(blobs: BlobStore, root: Path) -> None:
    other = DiskBlobs(root, reserve_bytes=0)
    stored = await put(other, b"shared")
    assert await blobs.stat(stored.sha256) == 6
    await other.close()
